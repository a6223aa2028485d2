package translate

import (
	healthv3 "github.com/envoyproxy/go-control-plane/envoy/service/health/v3"
	"google.golang.org/protobuf/proto"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// Resource is one Envoy resource.
type Resource struct {
	// TypeURL is the xDS type, one of the constants of this package.
	TypeURL string
	Name    string
	Message proto.Message
	// Requires lists the clusters that must be there before the resource is used.
	Requires []string
	// Owners are the objects that contributed to the resource, sorted.
	Owners []mesh.ObjectID
}

// Result is what a unit of translation gives: its resources, sorted by type and name,
// and what it found wrong on the way.
type Result struct {
	Resources []Resource
	Findings  []message.Finding
	// Checks are what some proxies are to check for all.
	Checks []*healthv3.ClusterHealthCheck
}

// The xDS types that Fairlead serves.
const (
	ListenerType    = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RouteType       = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	ScopedRouteType = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"
	ClusterType     = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	SecretType      = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	EndpointType    = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
)
