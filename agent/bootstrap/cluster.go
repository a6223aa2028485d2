package bootstrap

import (
	"math"
	"slices"
	"strconv"
	"time"
)

const httpProtocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

func clustersOf(c Config) []object {
	clusters := []object{xdsCluster(c)}
	apps := slices.Clone(c.Apps)
	slices.SortFunc(apps, func(a, b App) int { return int(a.Port) - int(b.Port) })
	for _, app := range apps {
		clusters = append(clusters, appCluster(app))
	}
	return clusters
}

// appCluster speaks to the application what the caller spoke to the proxy, so that
// one port can serve HTTP/1.1 and gRPC alike, as it could without a mesh.
func appCluster(app App) object {
	name := "app|" + strconv.Itoa(int(app.Port))
	endpoint := socketAddress(app.Address.Addr().String(), app.Address.Port())
	return staticCluster(name, endpoint, object{
		"use_downstream_protocol_config": object{
			"http_protocol_options":  object{},
			"http2_protocol_options": object{},
		},
	})
}

// staticCluster lifts Envoy's default circuit breakers (1,024 connections and
// requests): the limits of a service are its DestinationRule's to set, on the side of
// the caller, and the application's own queue is the last word here.
func staticCluster(name string, at, protocol object) object {
	const unlimited = math.MaxUint32
	return object{
		"name":                             name,
		"type":                             "STATIC",
		"connect_timeout":                  duration(time.Second),
		"typed_extension_protocol_options": object{httpProtocolOptions: typed(httpProtocolOptions, protocol)},
		"circuit_breakers": object{"thresholds": []object{{
			"max_connections": unlimited, "max_pending_requests": unlimited, "max_requests": unlimited, "max_retries": unlimited,
		}}},
		"load_assignment": object{
			"cluster_name": name,
			"endpoints":    []object{{"lb_endpoints": []object{{"endpoint": object{"address": at}}}}},
		},
	}
}
