package mesh

// Transport is how a client gets its configuration. What it gets names where more of it comes
// from, so that clients with different transports have different configurations.
type Transport string

const (
	// TransportADS is one stream for everything, of either variant.
	TransportADS Transport = ""
	// TransportStreams and TransportDelta are a stream of its own for each subscription, in state
	// of the world and with changes only.
	TransportStreams Transport = "streams"
	TransportDelta   Transport = "delta"
	// TransportREST is JSON by HTTP, asked for again and again.
	TransportREST Transport = "rest"
	// TransportGRPC is that of gRPC's own client, which reads configuration meant for proxies: one
	// stream for everything too, but no scopes, no secrets, and listeners for a client only.
	TransportGRPC Transport = "grpc"
)
