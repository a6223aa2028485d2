package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"fairlead.dev/fairlead/internal/mesh"
)

// The xDS types that are served, in the order in which a change is sent: what is used
// comes before what uses it.
const (
	SecretType   = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	ClusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	ListenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	ScopeType    = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"
	RouteType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
)

var sendOrder = []string{SecretType, ClusterType, EndpointType, ListenerType, ScopeType, RouteType}

// shortNames are how people call the types.
var shortNames = map[string]string{
	SecretType: "secret", ClusterType: "cluster", EndpointType: "endpoints", ListenerType: "listener", ScopeType: "scope", RouteType: "route",
}

// Key names a resource within a view.
type Key struct {
	TypeURL string
	Name    string
}

// String returns the short type and the name, as in "route reviews.prod:9080".
func (k Key) String() string { return shortNames[k.TypeURL] + " " + k.Name }

// Resource is one Envoy resource, marshalled. It is immutable and shared.
type Resource struct {
	Key
	// Hash is that of the marshalled bytes, and the version that proxies are told.
	Hash string
	// Requires lists the clusters that must be there before the resource is used, sorted.
	Requires []string
	// Owners are the objects that contributed to it, sorted.
	Owners []mesh.ObjectID

	body *anypb.Any
}

// NewResource marshals a message. The same message gives the same hash.
func NewResource(key Key, message proto.Message, requires []string, owners []mesh.ObjectID) (*Resource, error) {
	if _, known := shortNames[key.TypeURL]; !known {
		return nil, fmt.Errorf("resource %q has type %s, which is not served", key.Name, key.TypeURL)
	}
	bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("marshal %s: %w", key, err)
	}
	sum := sha256.Sum256(bytes)
	return &Resource{
		Key: key,
		// 128 bits: enough that two contents of one name never meet, short on the wire.
		Hash:     hex.EncodeToString(sum[:16]),
		Requires: requires,
		Owners:   owners,
		body:     &anypb.Any{TypeUrl: key.TypeURL, Value: bytes},
	}, nil
}

// Same reports whether nothing that matters differs between two resources.
func (r *Resource) Same(other *Resource) bool {
	return r.Hash == other.Hash && r.Key == other.Key &&
		slices.Equal(r.Requires, other.Requires) && slices.Equal(r.Owners, other.Owners)
}

// shortType returns the last word of a type URL, for logs and metrics.
func shortType(typeURL string) string {
	if short, known := shortNames[typeURL]; known {
		return short
	}
	return typeURL[strings.LastIndexByte(typeURL, '.')+1:]
}
