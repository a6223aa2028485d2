package translate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/internal/mesh"
)

// Class is a group of proxies that get the same answer, keyed by exactly the inputs
// that translation reads. In explicit mode a workload's own address is in its
// listeners, so that each is a class of its own.
type Class struct {
	// Namespace decides which short names reach which service.
	Namespace string
	Explicit  bool
	// Workload is set in explicit mode only.
	Workload string
	// IPv6 is whether workloads of an intercepted class have an IPv6 address.
	IPv6 bool
	// Inbound lists the served ports of an intercepted class, "port/protocol" sorted
	// and comma-separated.
	Inbound string
	// MTLS is what the proxy takes from its callers; empty if it has no certificates, and is
	// told of nothing that needs them.
	MTLS mesh.MTLSMode
	// SourceLabels are the workload's labels that some route looks at, as
	// mesh.LabelText writes them.
	SourceLabels string
	// Gateway is whether the workloads are gateways, and Gateways the Gateways that select them, by
	// age. Inbound lists the ports that Services lead to others then, "port=target".
	Gateway  bool
	Gateways string
	// Transport is how the proxies are served.
	Transport mesh.Transport
	// Everybody is set for a class without proxies that stands for all others: whatever some
	// namespace has for itself is translated in it, for what is to be said of it.
	Everybody bool
}

// Key returns the class as one word, for logs and as a map key.
func (c Class) Key() string {
	mode := ""
	if c.MTLS != "" {
		mode = "," + string(c.MTLS)
	}
	if c.Transport != mesh.TransportADS {
		mode += "," + string(c.Transport)
	}
	if c.Gateway {
		return fmt.Sprintf("gateway%s/%s/%s/%v/%s/%s/%s", mode, c.Namespace, c.Workload, c.IPv6, c.Inbound, c.Gateways, c.SourceLabels)
	}
	if c.Explicit {
		return "explicit" + mode + "/" + c.Namespace + "/" + c.Workload + "/" + c.SourceLabels
	}
	families := "ipv4"
	if c.IPv6 {
		families = "ipv4,ipv6"
	}
	return "intercepted" + mode + "/" + c.Namespace + "/" + families + "/" + c.Inbound + "/" + c.SourceLabels
}

// ClassOf returns the class of a workload's proxy.
func ClassOf(view mesh.View, workload *mesh.Workload) Class {
	if workload.Gateway {
		return gatewayClass(view, workload)
	}
	class := Class{
		Namespace:    workload.Namespace,
		Explicit:     workload.Explicit,
		MTLS:         mesh.ModeOf(view, workload),
		SourceLabels: sourceLabels(view, workload),
	}
	if workload.Explicit {
		class.Workload = workload.Name
		return class
	}
	class.IPv6 = workload.HasIPv6
	class.Inbound = inboundText(inboundPorts(view, workload))
	return class
}

// By returns the class of the same workload's client with another transport. gRPC's own client
// writes authorities, as one does in explicit mode, and serves nothing.
func (c Class) By(transport mesh.Transport) Class {
	if transport == mesh.TransportGRPC {
		return Class{Namespace: c.Namespace, Explicit: true, SourceLabels: c.SourceLabels, Transport: transport}
	}
	c.Transport = transport
	return c
}

// sourceLabels returns those labels of a workload that some route looks at, so that
// workloads that differ in other labels share a class.
func sourceLabels(view mesh.View, workload *mesh.Workload) string {
	seen := map[string]string{}
	see := func(keys []string) {
		for _, key := range keys {
			if value, found := callerLabel(view, workload, key); found {
				seen[key] = value
			}
		}
	}
	for _, host := range view.SourceHosts() {
		see(sourceLabelKeys(view, host, workload.Namespace))
	}
	for _, looks := range view.Looks() {
		see(looks.Choosing)
		see(looks.Ordering)
	}
	return mesh.LabelText(seen)
}

// callerLabel returns what a key says of a workload: mostly one of its labels.
func callerLabel(view mesh.View, workload *mesh.Workload, key string) (string, bool) {
	some := func(value string) (string, bool) { return value, value != "" }
	switch key {
	case mesh.LabelRegion:
		return some(cmp.Or(workload.Locality.Region, workload.Labels[key]))
	case mesh.LabelZone:
		return some(cmp.Or(workload.Locality.Zone, workload.Labels[key]))
	case mesh.LabelSubzone:
		return some(cmp.Or(workload.Locality.Subzone, workload.Labels[key]))
	case mesh.LabelNode:
		return some(cmp.Or(workload.Node, workload.Labels[key]))
	case mesh.LabelMode:
		if workload.Gateway {
			return mesh.ModeGateway, true
		}
		return mesh.ModeExplicit, workload.Explicit
	case mesh.LabelService:
		if serving := view.Serving(workload.Key()); len(serving) > 0 {
			return serving[0].Host, true
		}
		return "", false
	}
	if host, found := mesh.ServiceOfSource(key); found {
		return "", serves(view, workload, host)
	}
	value, found := workload.Labels[key]
	return value, found
}

// serves reports whether a workload is behind the service of a host.
func serves(view mesh.View, workload *mesh.Workload, host string) bool {
	return slices.ContainsFunc(view.Serving(workload.Key()), func(serving mesh.ServingPort) bool { return serving.Host == host })
}

// sourceLabelKeys returns the keys of the callers' labels that a host's routes look at, as
// a namespace sees them.
func sourceLabelKeys(view mesh.View, host, namespace string) []string {
	var keys []string
	tables := mesh.Winners(view.Routes(host), host, namespace)
	if len(tables) == 0 {
		return keys
	}
	tables[0].EachSource(func(labels map[string]string, _ string) bool {
		keys = slices.AppendSeq(keys, maps.Keys(labels))
		return true
	})
	return keys
}

// labelsOf cuts the labels of a class down to those of some keys.
func labelsOf(labels string, keys []string) string {
	if labels == "" {
		return ""
	}
	kept := mesh.ParseLabelText(labels)
	maps.DeleteFunc(kept, func(key, _ string) bool { return !slices.Contains(keys, key) })
	return mesh.LabelText(kept)
}

// inboundPort is a port of a workload on which its proxy takes calls.
type inboundPort struct {
	Number uint16
	HTTP   bool
	// Owners are the Services that serve by it.
	Owners []mesh.ObjectID
}

// inboundPorts returns the ports that a workload serves: those that it declares and, if
// its traffic is intercepted, those of Services too; the bootstrap of an explicit proxy
// knows where the application is for declared ports only. Services say how a port's
// traffic is treated, the declaration does where no Service uses the port. Services that
// disagree leave it at TCP, which carries everything.
func inboundPorts(view mesh.View, workload *mesh.Workload) []inboundPort {
	declared := map[uint16]bool{}
	for _, port := range workload.Ports {
		isHTTP, again := declared[port.Number]
		declared[port.Number] = port.Protocol.IsHTTP() && (isHTTP || !again)
	}
	ports := map[uint16]*inboundPort{}
	for number, isHTTP := range declared {
		ports[number] = &inboundPort{Number: number, HTTP: isHTTP}
	}
	for _, serving := range view.Serving(workload.Key()) {
		number := serving.TargetPort
		port := ports[number]
		if port == nil {
			if workload.Explicit {
				continue
			}
			port = &inboundPort{Number: number}
			ports[number] = port
		}
		isHTTP := serving.Port.Protocol.IsHTTP()
		port.HTTP = isHTTP && (port.HTTP || len(port.Owners) == 0)
		port.Owners = append(port.Owners, serviceID(view, serving.Host)...)
	}
	sorted := make([]inboundPort, 0, len(ports))
	for _, number := range slices.Sorted(maps.Keys(ports)) {
		sorted = append(sorted, *ports[number])
	}
	return sorted
}

// serviceID returns the object of a host's service, if there is one.
func serviceID(view mesh.View, host string) []mesh.ObjectID {
	if service := view.Service(host); service != nil {
		return []mesh.ObjectID{service.Origin.ObjectID}
	}
	return nil
}

func inboundText(ports []inboundPort) string {
	words := make([]string, len(ports))
	for i, port := range ports {
		words[i] = fmt.Sprintf("%d/%s", port.Number, port.protocol())
	}
	return strings.Join(words, ",")
}

func (p inboundPort) protocol() mesh.Protocol {
	if p.HTTP {
		return mesh.HTTP
	}
	return mesh.TCP
}

// parseInbound reads what inboundText wrote.
func parseInbound(text string) []inboundPort {
	var ports []inboundPort
	for word := range strings.SplitSeq(text, ",") {
		number, protocol, _ := strings.Cut(word, "/")
		if number, err := strconv.ParseUint(number, 10, 16); err == nil {
			ports = append(ports, inboundPort{Number: uint16(number), HTTP: mesh.Protocol(protocol).IsHTTP()})
		}
	}
	return ports
}
