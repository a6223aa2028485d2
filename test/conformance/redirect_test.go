package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	health "github.com/envoyproxy/go-control-plane/envoy/service/health/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/xds"
)

// Redirect rules need a network namespace, and that root. Here, what they would tell the kernel
// a client tells by the PROXY protocol, and the listeners of an intercepting proxy are on its
// own address in place of all of them. Nothing else of what is served differs.

func (s *stage) redirectedSocket() string { return filepath.Join(s.dir, "redirected.sock") }

// redirect serves intercepting proxies.
func (s *stage) redirect(server discovery.AggregatedDiscoveryServiceServer, checks health.HealthDiscoveryServiceServer) error {
	listener, err := net.Listen("unix", s.redirectedSocket())
	if err != nil {
		return err
	}
	redirected := grpc.NewServer(grpc.StreamInterceptor(func(service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		return next(service, &redirectedStream{ServerStream: stream, stage: s})
	}))
	discovery.RegisterAggregatedDiscoveryServiceServer(redirected, server)
	health.RegisterHealthDiscoveryServiceServer(redirected, checks)
	s.background(func(ctx context.Context) error {
		ended := make(chan error, 1)
		go func() { ended <- redirected.Serve(listener) }()
		<-ctx.Done()
		redirected.Stop()
		return <-ended
	})
	return nil
}

type redirectedStream struct {
	grpc.ServerStream
	stage *stage
	node  string
}

// RecvMsg learns whose stream it is.
func (r *redirectedStream) RecvMsg(message any) error {
	err := r.ServerStream.RecvMsg(message)
	if request, ok := message.(interface{ GetNode() *corev3.Node }); ok && request.GetNode().GetId() != "" {
		r.node = request.GetNode().GetId()
	}
	return err
}

// SendMsg moves listeners.
func (r *redirectedStream) SendMsg(message any) error {
	response, ok := message.(*discovery.DeltaDiscoveryResponse)
	if !ok || response.GetTypeUrl() != xds.ListenerType {
		return r.ServerStream.SendMsg(message)
	}
	response = proto.CloneOf(response)
	for _, resource := range response.GetResources() {
		listener := &listenerv3.Listener{}
		if err := resource.GetResource().UnmarshalTo(listener); err != nil {
			return err
		}
		if err := r.move(listener); err != nil {
			return err
		}
		packed, err := anypb.New(listener)
		if err != nil {
			return err
		}
		resource.Resource = packed
	}
	return r.ServerStream.SendMsg(response)
}

func (r *redirectedStream) move(listener *listenerv3.Listener) error {
	if listener.GetBindToPort() != nil && !listener.GetBindToPort().GetValue() {
		return nil
	}
	for _, p := range r.stage.proxies {
		if p.namespace+"/"+p.name == r.node {
			listener.GetAddress().GetSocketAddress().Address = mesh.LoopbackAddress(p.address).String()
		}
	}
	protocol, err := anypb.New(&proxyprotocolv3.ProxyProtocol{})
	if err != nil {
		return err
	}
	for _, filter := range listener.GetListenerFilters() {
		if strings.HasSuffix(filter.GetName(), "original_dst") {
			filter.Name = "envoy.filters.listener.proxy_protocol"
			filter.ConfigType = &listenerv3.ListenerFilter_TypedConfig{TypedConfig: protocol}
		}
	}
	return nil
}

// somewhere is the address that the DNS has for hosts of which the mesh knows none.
var somewhere = netip.MustParseAddr("192.0.2.1")

// intercept connects to an address that redirect rules would lead to the proxy: one of a
// service, by its host, or any other.
func (p *proxy) intercept(ctx context.Context, target string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	called, err := netip.ParseAddr(host)
	if err != nil {
		called = somewhere
		if service := p.stage.store.Service(host); service != nil && len(service.Addresses) > 0 {
			called = service.Addresses[0]
		}
	}
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", p.at(mesh.ExplicitOutboundPort))
	if err != nil {
		return nil, err
	}
	from, fromPort, _ := net.SplitHostPort(connection.LocalAddr().String())
	if _, err := strconv.Atoi(port); err != nil {
		return nil, errors.Join(err, connection.Close())
	}
	if _, err := fmt.Fprintf(connection, "PROXY TCP4 %s %s %s %s\r\n", from, called, fromPort, port); err != nil {
		return nil, errors.Join(err, connection.Close())
	}
	return connection, nil
}
