package xds

// StreamsEnd is how long the streams of a connection that breaks may take to end.
const StreamsEnd = streamsEnd

// PollerLifetime is how long a client that polls counts after it was last heard of.
const PollerLifetime = pollerLifetime
