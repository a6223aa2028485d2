package bootstrap

import (
	"math"
	"slices"
	"strconv"
	"time"
)

const httpProtocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

func clustersOf(c Config) []cluster {
	clusters := []cluster{xdsCluster(c)}
	apps := slices.Clone(c.Apps)
	slices.SortFunc(apps, func(a, b App) int { return int(a.Port) - int(b.Port) })
	for _, app := range apps {
		clusters = append(clusters, appCluster(app))
	}
	return clusters
}

// appCluster speaks to the application what the caller spoke to the proxy, so that
// one port can serve HTTP/1.1 and gRPC alike, as it could without a mesh.
func appCluster(app App) cluster {
	name := "app|" + strconv.Itoa(int(app.Port))
	endpoint := address{SocketAddress: &socketAddress{
		Address:   app.Address.Addr().String(),
		PortValue: app.Address.Port(),
	}}
	return staticCluster(name, endpoint, map[string]any{
		"use_downstream_protocol_config": map[string]any{
			"http_protocol_options":  map[string]any{},
			"http2_protocol_options": map[string]any{},
		},
	})
}

// staticCluster lifts Envoy's default circuit breakers (1,024 connections and
// requests): the limits of a service are its DestinationRule's to set, on the side of
// the caller, and the application's own queue is the last word here.
func staticCluster(name string, at address, protocol map[string]any) cluster {
	return cluster{
		Name:            name,
		Type:            "STATIC",
		ConnectTimeout:  duration(time.Second),
		ProtocolOptions: map[string]any{httpProtocolOptions: typed(httpProtocolOptions, protocol)},
		CircuitBreakers: circuitBreakers{Thresholds: []thresholds{{
			MaxConnections:     math.MaxUint32,
			MaxPendingRequests: math.MaxUint32,
			MaxRequests:        math.MaxUint32,
			MaxRetries:         math.MaxUint32,
		}}},
		LoadAssignment: loadAssignment{
			ClusterName: name,
			Endpoints:   []localityEndpoints{{LBEndpoints: []lbEndpoint{{Endpoint: endpoint{Address: at}}}}},
		},
	}
}
