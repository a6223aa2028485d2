package mesh

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Gateway is what one object says about the servers of gateway workloads.
type Gateway struct {
	Origin Origin
	// Selector is the labels of the workloads that it is for; none select all.
	Selector map[string]string
	Servers  []Server
}

// Key returns "namespace/name", by which route tables are bound to the gateway.
func (g *Gateway) Key() string { return NamespacedName{g.Origin.Namespace, g.Origin.Name}.String() }

// Server is a port on which a gateway workload takes traffic for some hosts.
type Server struct {
	// Path is where the server stands in its object, such as spec.servers[0], for messages.
	Path string
	// Name is its own, or its place in the list.
	Name     string
	Port     uint16
	Protocol ServerProtocol
	// Bind is the address to listen on; invalid for all of the workload's.
	Bind  netip.Addr
	Hosts []ServerHost
	// HTTPSRedirect answers every request with a redirection to HTTPS.
	HTTPSRedirect bool
	// TLS is nil where there is none to deal with.
	TLS *ServerTLS
}

// ServerProtocol is what a server makes of connections.
type ServerProtocol string

// What servers make of connections, once TLS is dealt with.
const (
	ServerHTTP ServerProtocol = "HTTP"
	ServerTCP  ServerProtocol = "TCP"
	// ServerPassthrough goes by the name in the client's first message and leaves TLS to
	// whoever it leads to.
	ServerPassthrough ServerProtocol = "PASSTHROUGH"
	// ServerAutoPassthrough goes to the cluster that this name says.
	ServerAutoPassthrough ServerProtocol = "AUTO_PASSTHROUGH"
)

// ServerHost is a host that a server serves.
type ServerHost struct {
	// Namespace is that of the route tables it is for; empty for all.
	Namespace string
	// Name may be a wildcard.
	Name string
}

// ServerTLS is how a server ends TLS.
type ServerTLS struct {
	// Mesh is mutual TLS by the certificates of the mesh; nothing else is set then.
	Mesh bool
	// Files and Credentials are its certificates, one or the other; a credential is named
	// by the Secret, in the namespace of the gateway's workload.
	Files       []CertificateFiles
	Credentials []string
	// AsksClient and RequiresClient are whether clients may, or have to, show a certificate,
	// which RootsFile and RevokedFile, or else RootsCredential, or else the first credential
	// tell the good ones of.
	AsksClient, RequiresClient bool
	RootsFile, RevokedFile     string
	RootsCredential            string
	// AcceptUntrusted lets in clients whose certificate is not good.
	AcceptUntrusted bool
	// SubjectAltNames, SPKI and Hashes say which good certificates are let in; none: all.
	SubjectAltNames, SPKI, Hashes []string
	// Min and Max are versions of TLS in Envoy's words; empty: Envoy's own.
	Min, Max string
	Ciphers  []string
}

// CertificateFiles are the paths of a certificate and its key on the gateway's machine.
type CertificateFiles struct{ Certificate, Key string }

// Meet returns the hosts that both names stand for, wildcards or not: the more exact of the
// two, if the other covers it.
func Meet(a, b string) (string, bool) {
	switch {
	case Covers(b, a):
		return a, true
	case Covers(a, b):
		return b, true
	}
	return "", false
}

// SetGateway adds or replaces a gateway.
func (s *Store) SetGateway(gateway *Gateway) {
	s.say(gateway.Origin.ObjectID, gateway.Origin.Generation, func(id ObjectID) {
		s.gateways[id] = gateway
		s.gatewayChanged(id)
	})
}

// DeleteGateway removes a gateway.
func (s *Store) DeleteGateway(id ObjectID) {
	s.say(id, DeletedGeneration, func(id ObjectID) {
		delete(s.gateways, id)
		s.gatewayChanged(id)
	})
}

func (s *Store) gatewayChanged(id ObjectID) {
	s.mark(KindGatewayNames, "")
	s.mark(KindGateway, NamespacedName{id.Namespace, id.Name}.String())
}

// GatewayNames implements View.
func (s *Store) GatewayNames() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := map[string]struct{}{}
	for id := range s.gateways {
		names[NamespacedName{id.Namespace, id.Name}.String()] = struct{}{}
	}
	for name := range s.bound {
		names[name] = struct{}{}
	}
	return slices.Sorted(maps.Keys(names))
}

// Gateway implements View.
func (s *Store) Gateway(name string) *Gateway {
	s.mu.RLock()
	defer s.mu.RUnlock()
	namespace, name, _ := strings.Cut(name, "/")
	return s.gateways[ObjectID{Kind: KindOfGateways, Namespace: namespace, Name: name}]
}

// KindOfGateways is the kind of the objects that gateways are made from.
const KindOfGateways = "Gateway"

// GatewayRoutes implements View.
func (s *Store) GatewayRoutes(gateway string) []*RouteTable {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.bound[gateway]
}

// bindTable keeps the tables of gateways by which table an object had and has.
func (s *Store) bindTable(before, after *RouteTable) {
	concerned := map[string]struct{}{}
	for _, table := range []*RouteTable{before, after} {
		if table != nil {
			for _, gateway := range table.Gateways {
				concerned[gateway] = struct{}{}
			}
		}
	}
	delete(concerned, MeshGateway)
	for gateway := range concerned {
		tables := slices.DeleteFunc(slices.Clone(s.bound[gateway]), func(t *RouteTable) bool { return t == before })
		if after != nil && AppliesTo(after.Gateways, gateway) {
			tables = append(tables, after)
			slices.SortFunc(tables, func(a, b *RouteTable) int { return precedence(a.Origin, b.Origin) })
		}
		if (len(tables) == 0) != (len(s.bound[gateway]) == 0) {
			s.mark(KindGatewayNames, "")
		}
		if len(tables) == 0 {
			delete(s.bound, gateway)
		} else {
			s.bound[gateway] = tables
		}
		s.mark(KindGatewayRoutes, gateway)
	}
}

// GatewayWorkloads implements View.
func (s *Store) GatewayWorkloads() []*Workload {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*Workload, 0, len(s.gatewayWorkloads))
	for key := range s.gatewayWorkloads {
		all = append(all, s.workloads[key])
	}
	slices.SortFunc(all, func(a, b *Workload) int { return a.Key().Compare(b.Key()) })
	return all
}

// gatewayWorkloadChanged keeps the set of gateway workloads.
func (s *Store) gatewayWorkloadChanged(key NamespacedName, before, after *Workload) {
	delete(s.gatewayWorkloads, key)
	if after != nil && after.Gateway {
		s.gatewayWorkloads[key] = struct{}{}
	}
	if before != nil && before.Gateway || after != nil && after.Gateway {
		s.mark(KindGatewayWorkloads, "")
	}
}

// GatewayNames implements View.
func (r *Recorder) GatewayNames() []string {
	r.note(KindGatewayNames, "")
	return r.View.GatewayNames()
}

// Gateway implements View.
func (r *Recorder) Gateway(name string) *Gateway {
	r.note(KindGateway, name)
	return r.View.Gateway(name)
}

// GatewayRoutes implements View.
func (r *Recorder) GatewayRoutes(gateway string) []*RouteTable {
	r.note(KindGatewayRoutes, gateway)
	return r.View.GatewayRoutes(gateway)
}

// GatewayWorkloads implements View.
func (r *Recorder) GatewayWorkloads() []*Workload {
	r.note(KindGatewayWorkloads, "")
	return r.View.GatewayWorkloads()
}
