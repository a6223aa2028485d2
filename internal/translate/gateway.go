package translate

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// A gateway workload serves what all Gateways that select it say. Its class is these, by age;
// the units of the class are its listeners, with the certificates that they name, one unit for
// each route configuration, and the clusters that these lead to, with their endpoints.

// gatewayClass returns the class of a gateway workload's proxy.
func gatewayClass(view mesh.View, workload *mesh.Workload) Class {
	class := Class{
		Namespace: workload.Namespace,
		Gateway:   true,
		Gateways:  strings.Join(selecting(view, workload), ","),
		Explicit:  workload.Explicit,
		IPv6:      workload.HasIPv6,
		MTLS:      mesh.ModeOf(view, workload),

		SourceLabels: sourceLabels(view, workload),
	}
	if workload.Explicit {
		class.Workload = workload.Name
	}
	ports := map[uint16]uint16{}
	for _, serving := range view.Serving(workload.Key()) {
		if _, found := ports[serving.Port.Number]; !found && serving.Port.Number != serving.TargetPort {
			ports[serving.Port.Number] = serving.TargetPort
		}
	}
	var words []string
	for _, number := range slices.Sorted(maps.Keys(ports)) {
		words = append(words, fmt.Sprintf("%d=%d", number, ports[number]))
	}
	class.Inbound = strings.Join(words, ",")
	return class
}

// selecting returns the names of the Gateways that select a workload, the oldest first.
func selecting(view mesh.View, workload *mesh.Workload) []string {
	var gateways []*mesh.Gateway
	for _, name := range view.GatewayNames() {
		if gateway := view.Gateway(name); gateway != nil && mesh.Selects(gateway.Selector, workload.Labels) {
			gateways = append(gateways, gateway)
		}
	}
	slices.SortFunc(gateways, func(a, b *mesh.Gateway) int {
		if a.Origin.Older(b.Origin) {
			return -1
		}
		return 1
	})
	names := make([]string, len(gateways))
	for i, gateway := range gateways {
		names[i] = gateway.Key()
	}
	return names
}

// addGateway adds the units of a gateway class.
func (l *lister) addGateway(services map[string]*mesh.Service) {
	class := l.class
	unit := Unit{
		Kind: UnitGateway, Namespace: class.Namespace, Gateways: class.Gateways, Explicit: class.Explicit, Workload: class.Workload,
		IPv6: class.IPv6, Inbound: class.Inbound, Certified: class.MTLS != "", SourceLabels: class.SourceLabels, Transport: class.Transport,
	}
	l.units = append(l.units, unit)
	b := &build{view: l.view, unit: unit}
	everything := false
	hosts := map[string]struct{}{}
	for _, listener := range b.gatewayListeners() {
		for _, name := range b.usedRoutes(listener) {
			l.units = append(l.units, Unit{
				Kind: UnitGatewayRoutes, Host: name, Namespace: class.Namespace, Gateways: class.Gateways, Inbound: class.Inbound,
				SourceLabels: class.SourceLabels, Transport: class.Transport,
			})
		}
		for _, s := range listener.servers {
			everything = everything || s.Protocol == mesh.ServerAutoPassthrough
			for _, table := range b.tablesOf(s) {
				table.EachDestination(func(d *mesh.Destination, _ mesh.Origin) { hosts[d.Host] = struct{}{} })
			}
		}
	}
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		l.addClusters(Unit{Host: host, Certified: class.MTLS != ""}, services[host])
	}
	if everything {
		for _, host := range slices.Sorted(maps.Keys(services)) {
			hosts[host] = struct{}{}
			l.addClusters(Unit{Host: host, ByName: true}, services[host])
		}
	}
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		l.addEndpoints(host)
	}
}

// gatewayServer is a server with the object that it stands in.
type gatewayServer struct {
	*mesh.Server
	gateway *mesh.Gateway
}

// id names the server among all.
func (s gatewayServer) id() string { return s.gateway.Key() + "/" + s.Name }

// terminatesHTTP reports whether requests by TLS are routed.
func (s gatewayServer) terminatesHTTP() bool { return s.TLS != nil && s.Protocol == mesh.ServerHTTP }

// looksForTLS reports whether the server takes connections by how they begin.
func (s gatewayServer) looksForTLS() bool {
	return s.TLS != nil || s.Protocol == mesh.ServerPassthrough || s.Protocol == mesh.ServerAutoPassthrough
}

// gatewayListener is an address on which some servers listen that can share it: all of HTTP in
// plaintext, all that look for TLS, or all of TCP.
type gatewayListener struct {
	name    string
	bind    netip.Addr
	port    uint16
	servers []gatewayServer
}

// routeNames returns the names of its route configurations: one for all servers of HTTP in
// plaintext, and one for each that ends TLS.
func (l gatewayListener) routeNames() []string {
	var names []string
	for _, s := range l.servers {
		names = append(names, l.routeName(s)...)
	}
	return slices.Compact(names)
}

func (l gatewayListener) routeName(s gatewayServer) []string {
	switch {
	case s.terminatesHTTP():
		return []string{l.name + "|" + s.id()}
	case s.Protocol == mesh.ServerHTTP:
		return []string{l.name}
	}
	return nil
}

// usedRoutes returns the names of those that its filter chains use. Nobody asks for the routes of a
// server that is left out, so that none would ever acknowledge them.
func (b *build) usedRoutes(l *gatewayListener) []string {
	var names []string
	for _, s := range b.openServers(l) {
		names = append(names, l.routeName(s.gatewayServer)...)
	}
	return slices.Compact(names)
}

// gatewayListeners lays out the servers of the unit's Gateways. One that cannot share the
// address of an older one is left out, which is told.
func (b *build) gatewayListeners() []*gatewayListener {
	var listeners []*gatewayListener
	byName := map[string]*gatewayListener{}
	targets := map[string]string{}
	for word := range strings.SplitSeq(b.unit.Inbound, ",") {
		number, target, _ := strings.Cut(word, "=")
		targets[number] = target
	}
	for _, gateway := range b.gateways() {
		for i := range gateway.Servers {
			s := gatewayServer{&gateway.Servers[i], gateway}
			name := "gateway|" + strconv.Itoa(int(s.Port))
			if s.Bind.IsValid() && !s.Bind.IsUnspecified() {
				name = "gateway|" + addressKey(s.Bind, s.Port)
			}
			port, err := strconv.ParseUint(targets[strconv.Itoa(int(s.Port))], 10, 16)
			if err != nil {
				port = uint64(s.Port)
			}
			listener := byName[name]
			if listener == nil {
				listener = &gatewayListener{name: name, bind: s.Bind, port: uint16(port)}
				if i := slices.IndexFunc(listeners, func(o *gatewayListener) bool { return o.port == listener.port && o.bind == s.Bind }); i >= 0 {
					b.find(message.ServerConflict(gateway.Origin.ObjectID, s.Path+".port", listeners[i].servers[0].id(), "it leads to the same port of the workload"))
					continue
				}
				byName[name] = listener
				listeners = append(listeners, listener)
			} else if first := listener.servers[0]; first.looksForTLS() != s.looksForTLS() || !s.looksForTLS() && first.Protocol != s.Protocol {
				b.find(message.ServerConflict(gateway.Origin.ObjectID, s.Path+".port", first.id(), "the two do not go together on one port"))
				continue
			}
			listener.servers = append(listener.servers, s)
		}
	}
	slices.SortFunc(listeners, func(x, y *gatewayListener) int { return cmp.Compare(x.name, y.name) })
	return listeners
}

// gateways returns the unit's Gateways, the oldest first.
func (b *build) gateways() []*mesh.Gateway {
	var gateways []*mesh.Gateway
	for name := range strings.SplitSeq(b.unit.Gateways, ",") {
		if gateway := b.view.Gateway(name); gateway != nil {
			gateways = append(gateways, gateway)
		}
	}
	return gateways
}

// tablesOf returns the route tables that are bound to a server's Gateway and that its workloads
// see, the oldest first.
func (b *build) tablesOf(s gatewayServer) []*mesh.RouteTable {
	return slices.DeleteFunc(slices.Clone(b.view.GatewayRoutes(s.gateway.Key())), func(table *mesh.RouteTable) bool {
		return !mesh.Visible(table.ExportTo, b.unit.Namespace)
	})
}

// served returns the hosts of a table that a server serves.
func (s gatewayServer) served(table *mesh.RouteTable) []string {
	var hosts []string
	for _, own := range s.Hosts {
		if own.Namespace != "" && own.Namespace != table.Origin.Namespace {
			continue
		}
		for _, host := range table.Hosts {
			if both, meet := mesh.Meet(own.Name, host); meet {
				hosts = append(hosts, both)
			}
		}
	}
	return sortedSet(hosts, cmp.Compare[string])
}
