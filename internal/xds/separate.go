package xds

import (
	"context"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"fairlead.dev/fairlead/internal/mesh"
)

// A proxy that is not told to aggregate has a stream for each subscription: one for its
// clusters, one for the endpoints of each cluster, and so on. They come by one connection,
// and what comes by one connection is one session, so that make before break holds among
// them. A proxy whose streams go to different replicas has no such order.

// services are what is served beside the aggregated stream: by the names of their methods, and
// by the paths that clients ask which poll.
var services = []struct{ name, what, path, typeURL string }{
	{"envoy.service.secret.v3.SecretDiscoveryService", "Secrets", "secrets", SecretType},
	{"envoy.service.cluster.v3.ClusterDiscoveryService", "Clusters", "clusters", ClusterType},
	{"envoy.service.endpoint.v3.EndpointDiscoveryService", "Endpoints", "endpoints", EndpointType},
	{"envoy.service.listener.v3.ListenerDiscoveryService", "Listeners", "listeners", ListenerType},
	{"envoy.service.route.v3.ScopedRoutesDiscoveryService", "ScopedRoutes", "scoped-routes", ScopeType},
	{"envoy.service.route.v3.RouteDiscoveryService", "Routes", "routes", RouteType},
}

// registerSeparate makes a gRPC server serve each type by itself, in both variants.
func (s *Server) registerSeparate(server grpc.ServiceRegistrar) {
	for _, service := range services {
		server.RegisterService(&grpc.ServiceDesc{
			ServiceName: service.name,
			HandlerType: (*any)(nil),
			Streams: []grpc.StreamDesc{{
				StreamName: "Stream" + service.what, ServerStreams: true, ClientStreams: true,
				Handler: func(_ any, grpcStream grpc.ServerStream) error {
					return s.sotw(&sotwStream{ServerStream: grpcStream}, service.typeURL)
				},
			}, {
				StreamName: "Delta" + service.what, ServerStreams: true, ClientStreams: true,
				Handler: func(_ any, grpcStream grpc.ServerStream) error {
					return s.delta(&deltaStream{ServerStream: grpcStream}, service.typeURL)
				},
			}},
		}, nil)
	}
}

type (
	sotwStream  = grpc.GenericServerStream[discovery.DiscoveryRequest, discovery.DiscoveryResponse]
	deltaStream = grpc.GenericServerStream[discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse]
)

// newStream returns the state of a stream for one type, or for all of them if that is empty.
func (s *Server) newStream(ctx context.Context, typeURL string, separate mesh.Transport) *stream {
	str := &stream{server: s, caller: CallerOf(ctx), typeURL: typeURL, own: map[string]*subscription{}}
	if typeURL != "" {
		str.transport, str.connection = separate, connectionOf(ctx)
	}
	return str
}

// connection is what the streams of one connection share.
type connection struct {
	mu       sync.Mutex
	sessions map[Client]*sharedSession
}

type sharedSession struct {
	*session
	streams int
}

// enter adds a stream to the session of its client.
func (c *connection) enter(cache *Cache, client Client, class string) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	shared := c.sessions[client]
	if shared == nil {
		shared = &sharedSession{session: newSession(cache)}
		cache.join(shared.session, client, class)
		c.sessions[client] = shared
	} else if !shared.in(class) {
		cache.Move(client, class)
	}
	shared.streams++
	return shared.session
}

// streamsEnd is how long the streams of a connection that breaks may take to end, one after the
// other.
const streamsEnd = 250 * time.Millisecond

// leave takes a stream out of its session. While others of its connection go on, it ended because
// its client does not want what it brought any more. Where all end, the client is gone, and what
// it had is kept until it is known whether it comes back.
func (c *connection) leave(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	shared := c.sessions[s.Client]
	shared.streams--
	if shared.streams == 0 {
		delete(c.sessions, s.Client)
		s.cache.leave(s.session)
		return
	}
	s.cache.options.Clock.AfterFunc(streamsEnd, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.sessions[s.Client] == shared {
			s.endOwn()
		}
	})
}

// endOwn ends the subscriptions by a stream.
func (s *stream) endOwn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.own {
		s.unsubscribe(sub)
	}
	s.advance()
}

type connectionKey struct{}

func connectionOf(ctx context.Context) *connection { return ctx.Value(connectionKey{}).(*connection) }

// connections gives each connection its state, which the contexts of its streams lead to.
type connections struct{}

func (connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{sessions: map[Client]*sharedSession{}})
}
func (connections) HandleConn(context.Context, stats.ConnStats)                     {}
func (connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (connections) HandleRPC(context.Context, stats.RPCStats)                       {}
