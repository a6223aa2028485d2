package xds

// StreamsEnd is how long the streams of a connection that breaks may take to end.
const StreamsEnd = streamsEnd
