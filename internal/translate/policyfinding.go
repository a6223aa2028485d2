package translate

import (
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// findPolicyPorts says for which ports of a service a policy of its cannot be used.
func (b *build) findPolicyPorts(service *mesh.Service, policy *mesh.Policy) {
	id, subsets := policy.Origin.ObjectID, []string{""}
	places := [][]mesh.PortTraffic{policy.Traffic.Ports}
	for _, subset := range policy.Subsets {
		subsets = append(subsets, subset.Name)
		places = append(places, subset.Traffic.Ports)
	}
	for _, ports := range places {
		for _, port := range ports {
			if _, found := service.Port(port.Port); !found {
				b.find(message.PolicyPort(id, port.Path+".port.number", service.Host, port.Port, portNumbers(service)))
			}
		}
	}
	told := map[string]bool{}
	find := func(place string, port uint16, needs string) {
		if !told[place] {
			told[place] = true
			b.find(message.PolicyUnfit(id, place, service.Host, port, needs))
		}
	}
	for _, subset := range subsets {
		for _, port := range service.Ports {
			t := target{Port: port, Traffic: policy.For(subset, port.Number)}
			if check := t.Traffic.HealthCheck; check != nil && t.healthCheck() == nil {
				needs := map[mesh.HealthProtocol]string{
					mesh.HealthHTTP: "a port that speaks HTTP", mesh.HealthGRPC: "a port that speaks HTTP/2, as gRPC does",
				}[check.Protocol]
				if check.ForAll && t.Traffic.TLS.Own() {
					needs = "by: CALLERS, since only they have the TLS that the policy says"
				}
				find(check.Place, port.Number, needs)
			} else if check != nil && check.ForAll && service.ByName() {
				find(check.Place, port.Number, "by: CALLERS, since only they find the endpoints")
			}
			if tunnel := t.Traffic.Tunnel; tunnel != nil && port.Protocol.IsHTTP() {
				find(tunnel.Place, port.Number, "a port on which bytes are carried")
			}
		}
	}
}

// healthCheck returns how the target's endpoints are asked, if it can be answered: an HTTP check
// of a port that does not speak it would find all endpoints ill.
func (t target) healthCheck() *mesh.HealthCheck {
	check := t.Traffic.HealthCheck
	switch {
	case check == nil, check.ForAll && t.Traffic.TLS.Own(),
		check.Protocol == mesh.HealthHTTP && t.Port.Protocol == mesh.TCP,
		check.Protocol == mesh.HealthGRPC && (t.Port.Protocol == mesh.TCP || !t.speaksHTTP2()):
		return nil
	}
	return check
}
