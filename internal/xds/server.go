package xds

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	health "github.com/envoyproxy/go-control-plane/envoy/service/health/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/config"
	"github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	serverstream "github.com/envoyproxy/go-control-plane/pkg/server/stream/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"fairlead.dev/fairlead/internal/mesh"
)

// ServerOptions are what a Server needs.
type ServerOptions struct {
	// Socket is the path of the Unix socket to listen on, at most 107 bytes; empty: none. Its
	// folder is made for our own user only: any process that reaches the socket may pose as
	// any existing Pod.
	Socket string
	// Network is where to listen besides; nil: nowhere.
	Network *Network
	// After is waited for before the first proxy is served; nil means no wait.
	After     <-chan struct{}
	Directory Directory
	// Health is served besides, to whom discovery is; nil: nothing.
	Health health.HealthDiscoveryServiceServer
	Log    *slog.Logger
}

// Network is how proxies are served over the network. All fields are required.
type Network struct {
	// Address is HOST:PORT.
	Address string
	// TLS asks callers for their certificates; what these are worth is for Authenticate to say.
	TLS *tls.Config
	// Authenticate says who calls a method, from what the context has of the connection and
	// the metadata. Its error, a gRPC status, is told to the caller.
	Authenticate func(ctx context.Context, method string) (*Caller, error)
	// Services registers what is served at this address besides discovery.
	Services func(grpc.ServiceRegistrar)
	// MaxConnectionAge bounds the age of connections, less or more by a tenth so that they do
	// not all end at once. Streams have another ageGrace to end by themselves.
	MaxConnectionAge time.Duration
}

// ageGrace is how long a stream outlives its connection's age. A discovery stream never ends
// by itself, so nothing is gained by a longer one.
const ageGrace = 10 * time.Second

// Server is the discovery service, on a Unix socket and over TLS. Every replica serves.
type Server struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	cache   *Cache
	options ServerOptions
	pollers pollers
}

// NewServer returns a server over a cache.
func NewServer(cache *Cache, options ServerOptions) *Server {
	return &Server{cache: cache, options: options, pollers: pollers{all: map[Client]*poller{}}}
}

// NeedLeaderElection says that followers serve too.
func (s *Server) NeedLeaderElection() bool { return false }

// Start serves until the context ends.
func (s *Server) Start(ctx context.Context) error {
	if s.options.After != nil {
		select {
		case <-s.options.After:
		case <-ctx.Done():
			return nil
		}
	}
	s.cache.expectProxies()
	served, ctx := errgroup.WithContext(ctx)
	if network := s.options.Network; network != nil {
		listener, err := net.Listen("tcp", network.Address)
		if err != nil {
			return fmt.Errorf("listen for proxies: %w", err)
		}
		served.Go(func() error {
			return s.serve(ctx, listener, network.Services, network.MaxConnectionAge,
				newDispatcher(listener.Addr(), network.TLS), s.callerOfRequest, grpc.StreamInterceptor(s.authenticated),
				// TLS has a buffer of its own; this one is 32 KiB a connection otherwise.
				grpc.ReadBufferSize(4<<10))
		})
	}
	if s.options.Socket != "" {
		served.Go(func() error {
			listener, err := listen(s.options.Socket)
			if err != nil {
				return err
			}
			return s.serve(ctx, listener, func(grpc.ServiceRegistrar) {}, 0, newDispatcher(listener.Addr(), nil), local)
		})
	}
	return served.Wait()
}

// serve answers on a listener until the context ends. No age is without bound.
func (s *Server) serve(ctx context.Context, listener net.Listener, more func(grpc.ServiceRegistrar), age time.Duration,
	dispatcher *dispatcher, callerOf func(*http.Request) (*Caller, error), options ...grpc.ServerOption) error {
	server := grpc.NewServer(append(options, grpc.Creds(dispatcher),
		// Whoever waits for the end may take away what handlers use.
		grpc.WaitForHandlers(true),
		// Proxies ping every 30 s; twice as often is not yet a reason to cut them off.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second, MaxConnectionAge: age, MaxConnectionAgeGrace: ageGrace,
		}),
		grpc.MaxRecvMsgSize(maxRequest), grpc.StatsHandler(connections{}),
	)...)
	discovery.RegisterAggregatedDiscoveryServiceServer(server, s)
	s.registerSeparate(server)
	if s.options.Health != nil {
		health.RegisterHealthDiscoveryServiceServer(server, s.options.Health)
	}
	more(server)
	var served errgroup.Group
	served.Go(func() error {
		defer dispatcher.close()
		if err := server.Serve(listener); err != nil {
			return fmt.Errorf("serve proxies on %s: %w", listener.Addr(), err)
		}
		return nil
	})
	served.Go(func() error { return dispatcher.serveHTTP(s.rest(callerOf)) })
	s.options.Log.Info("Serving proxies", "address", listener.Addr().String())
	ended := make(chan error, 1)
	go func() { ended <- served.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		// Streams never end by themselves.
		server.Stop()
		return <-ended
	}
}

// listen opens the socket for our own user. A socket that nobody answers on is replaced.
func listen(path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the xDS socket: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("look at the folder of the xDS socket: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("the xDS socket's folder %s has mode %#o, so others could pose as proxies: chmod 700 it, or name a folder that may be created", dir, mode)
	}
	if connection, err := net.Dial("unix", path); err == nil {
		_ = connection.Close()
		return nil, fmt.Errorf("xDS socket %s is in use by another process: stop it, or choose another path", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the xDS socket that an earlier process left: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for proxies: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("close the xDS socket to others: %w", err), listener.Close())
	}
	return listener, nil
}

// maxRequest is the largest request in bytes. A proxy that reconnects lists all that it has:
// about 100 bytes a resource, of which there are 11 a service. gRPC's own limit is 4 MiB.
const maxRequest = 64 << 20

// namedOnly are the types of which an empty request asks for nothing.
var namedOnly = []string{RouteType, EndpointType, SecretType}

// DeltaAggregatedResources implements the incremental variant.
func (s *Server) DeltaAggregatedResources(grpcStream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return s.delta(grpcStream, resource.AnyType)
}

func (s *Server) delta(grpcStream serverstream.DeltaStream, typeURL string) error {
	str := s.newStream(grpcStream.Context(), typeURL, mesh.TransportDelta)
	defer str.end()
	return delta.NewServer(grpcStream.Context(), str, str, config.DeactivateLegacyWildcardForTypes(namedOnly)).
		DeltaStreamHandler(grpcStream, typeURL)
}

// StreamAggregatedResources implements the state-of-the-world variant.
func (s *Server) StreamAggregatedResources(grpcStream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return s.sotw(grpcStream, resource.AnyType)
}

func (s *Server) sotw(grpcStream serverstream.Stream, typeURL string) error {
	str := s.newStream(grpcStream.Context(), typeURL, mesh.TransportStreams)
	defer str.end()
	return sotw.NewServer(grpcStream.Context(), str, str, config.DeactivateLegacyWildcardForTypes(namedOnly), sotw.WithOrderedADS()).
		StreamHandler(grpcStream, typeURL)
}
