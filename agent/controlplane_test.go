package main

import (
	"context"
	"net"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// controlPlane is the least that an agent's Envoy can be configured by: the agent is
// tried here without the manager, which it may not know of.
type controlPlane struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	cache  cache.SnapshotCache
	server *grpc.Server
}

// startControlPlane listens on a Unix socket; until serve is called it answers no one.
func startControlPlane(socket string) (*controlPlane, error) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	c := newControlPlane()
	c.start(listener)
	return c, nil
}

func newControlPlane(options ...grpc.ServerOption) *controlPlane {
	c := &controlPlane{cache: cache.NewSnapshotCache(true, cache.IDHash{}, nil), server: grpc.NewServer(options...)}
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(c.server, c)
	return c
}

func (c *controlPlane) start(listener net.Listener) {
	go func() { _ = c.server.Serve(listener) }()
}

func (c *controlPlane) StreamAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return sotw.NewServer(stream.Context(), c.cache, nil).StreamHandler(stream, resource.AnyType)
}

func (c *controlPlane) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return delta.NewServer(stream.Context(), c.cache, nil).DeltaStreamHandler(stream, resource.AnyType)
}

// serve gives a node these listeners and no clusters.
func (c *controlPlane) serve(node, version string, listeners ...types.Resource) error {
	snapshot, err := cache.NewSnapshot(version, map[resource.Type][]types.Resource{
		resource.ListenerType: listeners,
		resource.ClusterType:  {},
	})
	if err != nil {
		return err
	}
	return c.cache.SetSnapshot(context.Background(), node, snapshot)
}

func (c *controlPlane) stop() { c.server.Stop() }

// toApp is a listener at a port that Envoy finds, which leads to a static cluster of
// the bootstrap and marks its answers.
func toApp(cluster, mark string) types.Resource {
	manager := &hcmv3.HttpConnectionManager{
		StatPrefix: "inbound_9080",
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			ResponseHeadersToAdd: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "mark", Value: mark}}},
			VirtualHosts: []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: []*routev3.Route{{
				Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster}}},
			}}}},
		}},
		HttpFilters: []*hcmv3.HttpFilter{{
			Name:       "envoy.filters.http.router",
			ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed(&routerv3.Router{})},
		}},
	}
	return &listenerv3.Listener{
		Name: "inbound", StatPrefix: "inbound",
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 0},
		}}},
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(manager)},
		}}}},
	}
}

// rawToApp is a listener on a Unix socket that hands bytes on, named as the manager does.
func rawToApp(cluster, socket string) types.Resource {
	return &listenerv3.Listener{
		Name: "outbound|5432", StatPrefix: "outbound",
		Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: socket}}},
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "envoy.filters.network.tcp_proxy",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(&tcpproxyv3.TcpProxy{
				StatPrefix: "outbound_5432", ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: cluster},
			})},
		}}}},
	}
}

func packed(m proto.Message) *anypb.Any {
	// Only a message that cannot be marshalled fails, which none of these is.
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}
