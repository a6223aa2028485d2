package validate

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// ServiceEntry returns what is wrong with the object, looked at alone; nothing means that
// package convert can use it.
func ServiceEntry(object *v1alpha1.ServiceEntry, options Options) []message.Finding {
	c := newChecker(kindServiceEntry, object, object.Spec, options)
	spec, s := field.NewPath("spec"), &object.Spec
	c.exportTo(spec.Child("exportTo"), s.ExportTo)
	c.entryHosts(spec.Child("hosts"), s)
	for i, address := range s.Addresses {
		c.entryAddress(spec.Child("addresses").Index(i), address, s.Resolution)
	}
	c.entryPorts(spec.Child("ports"), s.Ports)
	c.resolution(spec, s)
	if selector := s.WorkloadSelector; selector != nil {
		labels := map[string]string{}
		for name, value := range selector.Labels {
			labels[name] = string(value)
		}
		c.labels(spec.Child("workloadSelector", "labels"), labels)
	}
	for i := range s.Endpoints {
		c.entryEndpoint(spec.Child("endpoints").Index(i), &s.Endpoints[i], s)
	}
	return message.Sort(c.findings)
}

func (c *checker) entryHosts(path *field.Path, spec *v1alpha1.ServiceEntrySpec) {
	if len(spec.Hosts) == 0 {
		c.invalid(path, "there is no host", "give at least one")
	}
	byDNS := isDNS(spec.Resolution) && len(spec.Endpoints) == 0 && spec.WorkloadSelector == nil
	seen := map[string]bool{}
	for i, host := range spec.Hosts {
		at := path.Index(i)
		host = strings.ToLower(host)
		switch _, err := netip.ParseAddr(host); {
		case host == "*":
			c.invalid(at, "it is every host", "name hosts, or what they end in, as in *.example.com")
		case err == nil:
			c.invalid(at, fmt.Sprintf("%q is an address", host), "give the host a name, and put the address into addresses")
		case !c.routedHost(at, host):
		case seen[host]:
			c.add(message.Repeated(c.object, at.String(), fmt.Sprintf("%q", host), "an earlier host"))
		case byDNS && mesh.IsWildcard(host):
			c.conflict(at, "a wildcard has no address in the DNS", "give endpoints, or set resolution to NONE")
		}
		seen[host] = true
	}
}

func isDNS(resolution v1alpha1.ServiceEntryResolution) bool {
	return resolution == v1alpha1.ResolutionDNS || resolution == v1alpha1.ResolutionDNSRoundRobin
}

func (c *checker) entryAddress(path *field.Path, address string, resolution v1alpha1.ServiceEntryResolution) {
	if _, err := netip.ParseAddr(address); err == nil {
		return
	}
	switch _, err := netip.ParsePrefix(address); {
	case err != nil:
		c.invalid(path, fmt.Sprintf("%q is neither an address nor a range of addresses", address), "write 192.0.2.1 or 192.0.2.0/24")
	case isDNS(resolution):
		c.conflict(path, "a range of addresses does not go with a resolution by DNS", "set resolution to NONE or STATIC, or give single addresses")
	}
}

// entryProtocols are the protocols of a ServiceEntry's ports, as Istio has them.
var entryProtocols = []string{"", "http", "https", "http2", "grpc", "grpc-web", "mongo", "mysql", "redis", "tcp", "tls"}

func (c *checker) entryPorts(path *field.Path, ports []v1alpha1.ServiceEntryPort) {
	names, numbers := map[string]bool{}, map[int32]bool{}
	for i := range ports {
		port, at := &ports[i], path.Index(i)
		c.port(at.Child("number"), port.Number)
		if port.TargetPort != 0 {
			c.port(at.Child("targetPort"), port.TargetPort)
		}
		if strings.EqualFold(port.Protocol, "udp") {
			c.notImplemented(at.Child("protocol"), "UDP is", "remove the port: UDP passes by the mesh")
		} else if !slices.Contains(entryProtocols, strings.ToLower(port.Protocol)) {
			c.invalid(at.Child("protocol"), fmt.Sprintf("%q is not a protocol", port.Protocol), "use HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, MONGO, MYSQL, REDIS, TCP or TLS")
		}
		switch {
		case port.Name == "":
			c.invalid(at.Child("name"), "it is empty", "name the port")
		case names[port.Name]:
			c.add(message.Repeated(c.object, at.Child("name").String(), fmt.Sprintf("%q", port.Name), "an earlier port's"))
		case numbers[port.Number]:
			c.add(message.Repeated(c.object, at.Child("number").String(), fmt.Sprint(port.Number), "an earlier port's"))
		}
		names[port.Name], numbers[port.Number] = true, true
	}
}

// resolution checks that servers are found in one way.
func (c *checker) resolution(spec *field.Path, s *v1alpha1.ServiceEntrySpec) {
	path := spec.Child("resolution")
	switch s.Resolution {
	case "", v1alpha1.ResolutionNone:
		if len(s.Endpoints) > 0 || s.WorkloadSelector != nil {
			c.conflict(path, "it is NONE, which leads to the address that was called, and servers are given", "set it to STATIC or DNS, or remove them")
		}
	case v1alpha1.ResolutionStatic, v1alpha1.ResolutionDNS:
	case v1alpha1.ResolutionDNSRoundRobin:
		if len(s.Endpoints) > 1 || s.WorkloadSelector != nil {
			c.conflict(path, "DNS_ROUND_ROBIN takes one name", "use DNS")
		}
	case v1alpha1.ResolutionDynamicDNS:
		c.notImplemented(path, "DYNAMIC_DNS is", "use NONE for hosts with a wildcard, or name the hosts and use DNS")
	default:
		c.invalid(path, fmt.Sprintf("%q is not a resolution", s.Resolution), "use NONE, STATIC, DNS or DNS_ROUND_ROBIN")
	}
	if len(s.Endpoints) > 0 && s.WorkloadSelector != nil {
		c.conflict(spec.Child("workloadSelector"), "endpoints are given too", "set one of them")
	}
}

func (c *checker) entryEndpoint(path *field.Path, endpoint *v1alpha1.WorkloadEndpoint, spec *v1alpha1.ServiceEntrySpec) {
	c.labels(path.Child("labels"), endpoint.Labels)
	at, address := path.Child("address"), endpoint.Address
	socket, isSocket := strings.CutPrefix(address, "unix://")
	_, err := netip.ParseAddr(address)
	switch {
	case err == nil:
	case address == "":
		c.invalid(at, "it is empty", "give the server's address")
	case isSocket && spec.Resolution != v1alpha1.ResolutionStatic:
		c.conflict(at, "a socket has no name in the DNS", "set resolution to STATIC")
	case isSocket:
		// Linux takes at most 107 bytes, unix(7).
		if !strings.HasPrefix(socket, "/") && !strings.HasPrefix(socket, "@") || strings.HasSuffix(socket, "/") || len(socket) > 107 {
			c.invalid(at, fmt.Sprintf("%q is not the path of a socket", socket), "write unix:///PATH, or unix://@NAME for an abstract one, of at most 107 bytes")
		}
		if len(endpoint.Ports) > 0 {
			c.conflict(path.Child("ports"), "a socket has no ports", "remove them")
		}
	case spec.Resolution == v1alpha1.ResolutionStatic:
		c.invalid(at, fmt.Sprintf("%q is not an IP address", address), "give one, or set resolution to DNS")
	default:
		c.host(at, address)
	}
	for _, name := range slices.Sorted(maps.Keys(endpoint.Ports)) {
		c.port(path.Child("ports").Key(name), int32(endpoint.Ports[name]))
		if !slices.ContainsFunc(spec.Ports, func(p v1alpha1.ServiceEntryPort) bool { return p.Name == name }) {
			c.conflict(path.Child("ports").Key(name), "spec.ports has no port of this name", "use one of its names")
		}
	}
	if strings.Count(endpoint.Locality, "/") > 2 {
		c.invalid(path.Child("locality"), fmt.Sprintf("%q is not a locality", endpoint.Locality), "write REGION/ZONE/SUBZONE")
	}
	if endpoint.Weight < 0 || endpoint.Weight > 1<<32-1 {
		c.invalid(path.Child("weight"), fmt.Sprintf("%d is not a weight", endpoint.Weight), "use 1 to 4294967295")
	}
	if account := endpoint.ServiceAccount; account != "" && len(validation.IsDNS1123Subdomain(account)) > 0 {
		c.invalid(path.Child("serviceAccount"), fmt.Sprintf("%q is not a service account", account), "name one of this namespace")
	}
}
