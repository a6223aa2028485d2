package translate

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// gateway builds the listeners of the unit's class, and the secrets that they name. Without a
// cluster they are on the workload's own address, else on all.
func (b *build) gateway() {
	own := netip.IPv4Unspecified()
	if b.unit.Explicit {
		workload := b.view.Workload(mesh.NamespacedName{Namespace: b.unit.Namespace, Name: b.unit.Workload})
		if workload == nil || !workload.Address.IsValid() {
			return
		}
		own = mesh.LoopbackAddress(workload.Address)
	}
	for _, l := range b.gatewayListeners() {
		address := own
		if l.bind.IsValid() && (!b.unit.Explicit || !l.bind.IsUnspecified()) {
			address = l.bind
		}
		listener := listenerOf(l.name, address, l.port, corev3.TrafficDirection_INBOUND)
		if b.unit.Explicit {
			listener.EnableReusePort = wrapperspb.Bool(false)
		} else if b.unit.IPv6 && !l.bind.IsValid() {
			listener.AdditionalAddresses = []*listenerv3.AdditionalAddress{{Address: socketAddress(netip.IPv6Unspecified(), l.port)}}
		}
		if l.servers[0].looksForTLS() {
			listener.ListenerFilters = []*listenerv3.ListenerFilter{listenerFilter("envoy.filters.listener.tls_inspector", &tlsinspectorv3.TlsInspector{})}
		}
		resource := Resource{TypeURL: ListenerType, Name: l.name, Message: listener}
		listener.FilterChains = filterChains(b.serverChains(l, &resource))
		// Envoy takes no listener without any.
		if len(listener.FilterChains) > 0 {
			b.add(resource)
		}
	}
}

// openServer is a server to which connections come: by these names, as TLS has them, and by this
// socket, if it ends TLS.
type openServer struct {
	gatewayServer
	names  []string
	socket *corev3.TransportSocket
}

// openServers returns the servers of a listener, the oldest first, without those that are left out:
// older ones have all of their names, or what they end TLS with is not there.
func (b *build) openServers(l *gatewayListener) []openServer {
	var servers []openServer
	claimed := map[string]string{}
	for _, s := range l.servers {
		server := openServer{gatewayServer: s}
		if s.looksForTLS() {
			var names []string
			for _, host := range s.Hosts {
				names = append(names, host.Name)
			}
			if server.names = b.unclaimed(claimed, s, serverNames(names)); len(server.names) == 0 {
				continue
			}
		}
		if s.TLS != nil && s.Protocol != mesh.ServerAutoPassthrough {
			if server.socket = b.serverSocket(s); server.socket == nil {
				continue
			}
		}
		servers = append(servers, server)
	}
	return servers
}

// serverChains returns the filter chains of all servers of a listener, the oldest first.
func (b *build) serverChains(l *gatewayListener, resource *Resource) []chain {
	for _, s := range l.servers {
		resource.Owners = append(resource.Owners, s.gateway.Origin.ObjectID)
	}
	var chains []chain
	for _, s := range b.openServers(l) {
		c := chain{name: s.id(), names: s.names, socket: s.socket, hidden: func(string) {}}
		switch {
		case s.Protocol == mesh.ServerHTTP && !s.looksForTLS():
			if len(chains) == 0 { // one for all servers, which share their routes
				chains = append(chains, chain{name: "http", filters: b.gatewayFilters(l, s.gatewayServer)})
			}
		case s.Protocol == mesh.ServerAutoPassthrough:
			c.filters = slices.Concat(clusterByName, tcpChain(statName("gateway", s.Port), byName))
			chains = append(chains, c)
		case s.terminatesHTTP():
			b.findShared(l, s.gatewayServer)
			c.filters = b.gatewayFilters(l, s.gatewayServer)
			chains = append(chains, c)
		default:
			chains = append(chains, b.routedChains(s.gatewayServer, c, resource)...)
		}
	}
	return chains
}

// byName begins the names of clusters that are found by the name in a TLS handshake; no other
// cluster is to be found so.
const byName = "by-name|"

// clusterByName has the TCP proxy use such a cluster.
var clusterByName = []*listenerv3.Filter{networkFilter("envoy.filters.network.set_filter_state", &setfilterstatev3.Config{
	OnNewConnection: []*filterstatev3.FilterStateValue{{
		Key: &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: "envoy.tcp_proxy.cluster"},
		Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: byName + "%REQUESTED_SERVER_NAME%"},
			}},
		}},
	}},
})}

// unclaimed returns the names that no older server of the listener has; others are told.
func (b *build) unclaimed(claimed map[string]string, s gatewayServer, names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool {
		owner := claimed[name]
		if owner == "" {
			claimed[name] = s.id()
			return false
		}
		b.find(message.ServerConflict(s.gateway.Origin.ObjectID, s.Path+".hosts", owner, "both have the host "+cmp.Or(name, "*")))
		return true
	})
}

// findShared tells a server that shows the certificate of an older one.
func (b *build) findShared(l *gatewayListener, s gatewayServer) {
	for _, other := range l.servers {
		if other.Server == s.Server {
			return
		}
		shared := func(name string) bool { return slices.Contains(s.TLS.Credentials, name) }
		if other.terminatesHTTP() && slices.ContainsFunc(other.TLS.Credentials, shared) {
			b.find(message.CertificateShared(s.gateway.Origin.ObjectID, s.Path+".tls.credentialName", other.id()))
			return
		}
	}
}

// routedChains returns the chains of a server whose connections are routed as a whole: by the name
// that the client asks for, where TLS is passed through, or by what else tables say.
func (b *build) routedChains(s gatewayServer, c chain, resource *Resource) []chain {
	var chains []chain
	for _, table := range b.tablesOf(s) {
		hosts := s.served(table)
		if len(hosts) == 0 {
			continue
		}
		p := b.portRoutes(hosts[0], s.Port, boundTable{table, []string{s.gateway.Key()}})
		stat := statName("gateway", s.Port)
		switch {
		case s.Protocol == mesh.ServerPassthrough:
			within := slices.DeleteFunc(slices.Clone(hosts), func(host string) bool {
				return !slices.ContainsFunc(c.names, func(name string) bool { return name == "" || mesh.Covers(name, host) })
			})
			if len(within) > 0 {
				chains = append(chains, p.connectionChains(stat, "tls", table.TLS, within)...)
			}
		case s.TLS != nil:
			chains = append(chains, p.connectionChains(stat, "tcp", table.TCP, c.names)...)
		default:
			chains = append(chains, p.connectionChains(stat, "tcp", table.TCP, nil)...)
		}
		if len(p.requires)+len(p.owners) > 0 {
			resource.Owners = append(append(resource.Owners, table.Origin.ObjectID), p.owners...)
			resource.Requires = append(resource.Requires, p.requires...)
		}
	}
	for i := range chains {
		chains[i].socket = c.socket
		chains[i].name = s.id() + "|" + chains[i].name
	}
	return chains
}

// gatewayFilters route requests by the configuration of a server. What clients say of who they are
// and by whom they come is replaced.
func (b *build) gatewayFilters(l *gatewayListener, s gatewayServer) []*listenerv3.Filter {
	manager := b.connectionManager(statName("gateway", s.Port))
	manager.UseRemoteAddress = wrapperspb.Bool(true)
	manager.StripTrailingHostDot = true
	manager.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
		ConfigSource: b.configSource(), RouteConfigName: strings.Join(l.routeName(s), ""),
	}}
	if s.TLS != nil && (s.TLS.AsksClient || s.TLS.Mesh) {
		manager.ForwardClientCertDetails = hcmv3.HttpConnectionManager_SANITIZE_SET
		manager.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{
			Subject: wrapperspb.Bool(true), Cert: true, Dns: true, Uri: true,
		}
	}
	return httpChain(manager)
}
