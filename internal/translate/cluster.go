package translate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// connectTimeout is Istio's default.
const connectTimeout = 10 * time.Second

// ClusterName returns the name of a cluster and of its load assignment.
func ClusterName(host string, port uint16, subset string) string {
	return fmt.Sprintf("outbound|%d|%s|%s", port, subset, host)
}

// target is what one cluster leads to: those endpoints of a service's port that carry
// some labels.
type target struct {
	Name   string
	Port   mesh.ServicePort
	Labels map[string]string
	Owners []mesh.ObjectID
	// Traffic is what the host's policy says of it.
	Traffic mesh.Traffic
	// Hostname is that of the only endpoint, empty for all.
	Hostname string
	// Direct is set for what leads to the address that was called, of which it is known before
	// that it takes mutual TLS.
	Direct bool
}

// targets returns all clusters of a host: for each port one of all its endpoints, one
// for each subset of its policy and one for each set of labels that some route selects.
func (b *build) targets(service *mesh.Service) []target {
	var all []target
	owner := service.Origin.ObjectID
	var policy mesh.Policy
	if found := b.policy(service.Host); found != nil {
		policy = *found
	}
	selected := b.view.LabelSubsets(service.Host)
	for _, port := range service.Ports {
		named := map[string]struct{}{}
		add := func(subset string, labels map[string]string, traffic mesh.Traffic, owners ...mesh.ObjectID) {
			name := ClusterName(service.Host, port.Number, subset)
			if _, found := named[name]; !found {
				named[name] = struct{}{}
				if !traffic.IsZero() {
					owners = append(slices.Clone(owners), policy.Origin.ObjectID)
				}
				if b.labels[mesh.LabelMode] != "" {
					traffic = withoutPassthrough(traffic)
				}
				all = append(all, target{Name: name, Port: port, Labels: labels, Owners: append(owners, owner), Traffic: withNames(traffic, service.SubjectAltNames)})
			}
		}
		first := len(all)
		general := policy.For("", port.Number)
		add("", nil, general)
		for _, subset := range policy.Subsets {
			add(subset.Name, subset.Labels, policy.For(subset.Name, port.Number), policy.Origin.ObjectID)
		}
		for _, subset := range selected {
			add(mesh.LabelText(subset.Labels), subset.Labels, general, subset.Selectors...)
		}
		all = append(all, b.podTargets(service, all[first])...)
	}
	return all
}

// clusters builds the clusters of the unit's host, and says what is wrong with its policies.
func (b *build) clusters() {
	host := b.unit.Host
	service := b.service(host)
	b.findPolicies(service)
	if service == nil {
		return
	}
	if b.unit.ByName {
		b.clustersByName(service)
		return
	}
	for _, t := range b.clusterTargets(service) {
		cluster := b.clusterOf(t)
		b.secure(cluster, service, t)
		b.resolved(cluster, service, t)
		if b.forGRPC() && !clusterForGRPC(cluster) {
			continue
		}
		b.add(Resource{
			TypeURL: ClusterType,
			Name:    t.Name,
			Message: cluster,
			Owners:  t.Owners,
		})
	}
}

// findPolicies says what is wrong with the policies of the unit's host. Those of one
// namespace that select alike are for the same callers.
func (b *build) findPolicies(service *mesh.Service) {
	first := map[string]*mesh.Policy{}
	for _, policy := range b.view.Policies(b.unit.Host) {
		id := policy.Origin.ObjectID
		if policy.Host != b.unit.Host {
			continue // it has a unit of its own
		}
		callers := id.Namespace + "/" + mesh.LabelText(policy.Selector)
		if winner := first[callers]; winner == nil {
			first[callers] = policy
		} else if mesh.Eclipses(winner.ExportTo, policy.ExportTo) {
			b.find(message.HostConflict(id, "spec.host", policy.Host, winner.Origin.ObjectID))
		}
		switch {
		case service != nil:
			b.findPolicyPorts(service, policy)
		case !mesh.IsWildcard(policy.Host):
			b.find(message.HostNotFound(id, "spec.host", policy.Host))
		}
	}
}

// clustersByName builds clusters that carry TLS of a client's own, named by what the client
// asks for: outbound_.<port>_.<subset>_.<host>, as Istio has it.
func (b *build) clustersByName(service *mesh.Service) {
	for _, t := range b.targets(service) {
		_, subset, _ := strings.Cut(strings.TrimPrefix(t.Name, "outbound|"), "|")
		subset, _, _ = strings.Cut(subset, "|")
		assigned := t.Name
		t.Name, t.Port.Protocol = fmt.Sprintf("%soutbound_.%d_.%s_.%s", byName, t.Port.Number, subset, service.Host), mesh.TCP
		cluster := b.clusterOf(t)
		if cluster.EdsClusterConfig == nil {
			continue // it is not of the mesh
		}
		cluster.EdsClusterConfig.ServiceName = assigned
		b.add(Resource{TypeURL: ClusterType, Name: t.Name, Message: cluster, Owners: t.Owners})
	}
}

// httpProtocolOptions is the key of a cluster's HTTP options.
const httpProtocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// mutualEndpoint tells the endpoints that are called by mutual TLS from those that are not.
var mutualEndpoint = &structpb.Struct{Fields: map[string]*structpb.Value{"tls": structpb.NewStringValue("mutual")}}
