package translate

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	healthv3 "github.com/envoyproxy/go-control-plane/envoy/service/health/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"fairlead.dev/fairlead/internal/mesh"
)

// MutualCheck ends the names of checks that only a proxy with certificates can make.
const MutualCheck = "|mutual"

// checked tells callers which endpoints of a target were found to be ill, and says what the
// proxies are to check that find it out for all.
func (b *build) checked(assigned *endpointv3.ClusterLoadAssignment, service *mesh.Service, t target) {
	check := t.healthCheck()
	if check == nil || !check.ForAll {
		return
	}
	caller := *b
	caller.unit.Certified = true
	cluster := &clusterv3.Cluster{}
	caller.secure(cluster, service, t)
	sockets := cluster.TransportSocketMatches
	if cluster.TransportSocket != nil { // for whatever endpoint
		sockets = []*clusterv3.Cluster_TransportSocketMatch{{Name: "all", Match: &structpb.Struct{}, TransportSocket: cluster.TransportSocket}}
	}
	how := HealthCheck(check, b.unit.Host, t.speaksHTTP2())
	name := checkName(service, t, how)
	plain := &healthv3.ClusterHealthCheck{ClusterName: name, HealthChecks: []*corev3.HealthCheck{how}}
	mutual := &healthv3.ClusterHealthCheck{ClusterName: name + MutualCheck, HealthChecks: []*corev3.HealthCheck{how}, TransportSocketMatches: sockets}
	if len(cluster.TransportSocketMatches) > 0 {
		how := proto.CloneOf(how)
		how.TransportSocketMatchCriteria = mutualEndpoint
		mutual.HealthChecks[0] = how
	} else if t.Traffic.Mode() != mesh.TLSMesh {
		plain.TransportSocketMatches, mutual = sockets, plain
	}
	found := map[*healthv3.ClusterHealthCheck][]string{plain: b.view.Unhealthy(plain.ClusterName), mutual: b.view.Unhealthy(mutual.ClusterName)}
	asked := map[*healthv3.ClusterHealthCheck][]*endpointv3.Endpoint{}
	for _, group := range assigned.GetEndpoints() {
		for _, e := range group.GetLbEndpoints() {
			address := AddressText(e.GetEndpoint().GetAddress())
			if address == "" {
				continue // a socket of the caller's own machine
			}
			by := plain
			if e.GetMetadata() != nil || t.Traffic.Mode() == mesh.TLSMesh {
				by = mutual
			}
			asked[by] = append(asked[by], e.GetEndpoint())
			if slices.Contains(found[by], address) {
				e.HealthStatus = corev3.HealthStatus_UNHEALTHY
			}
		}
	}
	for _, by := range []*healthv3.ClusterHealthCheck{plain, mutual} {
		if endpoints := asked[by]; len(endpoints) > 0 {
			by.LocalityEndpoints = []*healthv3.LocalityEndpoints{{Endpoints: endpoints}}
			b.checks = append(b.checks, by)
			delete(asked, by) // the two may be one
		}
	}
}

// checkName tells a check from others of the same port, which callers of other policies have.
func checkName(service *mesh.Service, t target, how *corev3.HealthCheck) string {
	// Messages that consist of a few fields of their own marshal always alike.
	text, _ := proto.MarshalOptions{Deterministic: true}.Marshal(how)
	hash := fnv.New64a()
	_, _ = fmt.Fprint(hash, string(text), t.Traffic.Mode(), t.Traffic.ProxyProtocol)
	return fmt.Sprintf("check|%d|%s|%x", t.Port.Number, service.Key(), hash.Sum64())
}

// AddressText is ADDRESS:PORT; empty for what is no address of the network.
func AddressText(address *corev3.Address) string {
	socket := address.GetSocketAddress()
	ip, err := netip.ParseAddr(socket.GetAddress())
	if err != nil {
		return ""
	}
	return netip.AddrPortFrom(ip, uint16(socket.GetPortValue())).String()
}
