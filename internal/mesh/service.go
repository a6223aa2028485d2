package mesh

import (
	"net/netip"
	"slices"
	"strings"
)

// Protocol is how a port's traffic is treated.
type Protocol string

// The protocols that routing distinguishes. Everything that is not HTTP is carried as TCP.
const (
	HTTP  Protocol = "http"
	HTTP2 Protocol = "http2"
	GRPC  Protocol = "grpc"
	TCP   Protocol = "tcp"
	// TLS is the application's own, which the server's name can be read of.
	TLS Protocol = "tls"
	// Unknown is that of a port of which nothing says the protocol. It is carried as TCP,
	// or as HTTP where an intercepting proxy sees that a client speaks it.
	Unknown Protocol = "unknown"
)

// IsHTTP reports whether requests on the port can be routed one by one.
func (p Protocol) IsHTTP() bool { return p == HTTP || p == HTTP2 || p == GRPC }

// IsBytes reports whether the port is said to speak something else than HTTP.
func (p Protocol) IsBytes() bool { return p == TCP || p == TLS }

// UsesHTTP2 reports whether connections to the port speak HTTP/2.
func (p Protocol) UsesHTTP2() bool { return p == HTTP2 || p == GRPC }

// Service is a name that clients call, with its ports.
type Service struct {
	Origin Origin
	// Host is the fully qualified, lower-case name, such as reviews.default.svc.cluster.local.
	Host      string
	Name      string
	Namespace string
	// Addresses are the virtual addresses; empty for a headless service.
	Addresses []netip.Addr
	// Headless services have no virtual address: clients call an endpoint's own.
	Headless bool
	Ports    []ServicePort
	// Prefer is labels by which endpoints near to the caller are preferred, where no policy
	// says otherwise.
	Prefer []string
	// ExportTo are the namespaces that see the service; none stand for all.
	ExportTo []string

	// What follows is said by other objects than Kubernetes' Services.

	// Resolution is how endpoints are found.
	Resolution Resolution
	// External services have no proxies of the mesh.
	External bool
	// Ranges are addresses that clients call the service at, beside others.
	Ranges []netip.Prefix
	// Endpoints are those that the object names, Selector the labels of workloads of its
	// namespace that are others; nil selects none.
	Endpoints []Endpoint
	Selector  map[string]string
	// SubjectAltNames are the names one of which servers must show.
	SubjectAltNames []string
	// AliasOf is the host of another service that this one is a name for; empty for none.
	AliasOf string
}

// ServicePort is one port of a service.
type ServicePort struct {
	// Name is the port's name in the Service; unique there, empty only if it is the only one.
	Name     string
	Number   uint16
	Protocol Protocol
	// TargetPort is that of endpoints which do not say; zero for Number.
	TargetPort uint16
}

// Resolution is how a service's endpoints are found.
type Resolution string

// The resolutions.
const (
	// ByAddress is by addresses that are known.
	ByAddress Resolution = ""
	// ByDNS is by all addresses of names, ByOneOfDNS by whichever a name has at the moment.
	ByDNS      Resolution = "DNS"
	ByOneOfDNS Resolution = "DNS_ROUND_ROBIN"
	// AsCalled is the address that the client called.
	AsCalled Resolution = "NONE"
)

// Key tells the service from others that have its host.
func (s *Service) Key() string {
	if s.Name != "" {
		return s.Host
	}
	return s.Host + "@" + s.Origin.Namespace + "/" + s.Origin.Name
}

// ByName reports whether the proxy itself finds endpoints, by names or by what was called.
func (s *Service) ByName() bool { return s.Resolution != ByAddress }

// Port returns the port with the number given.
func (s *Service) Port(number uint16) (ServicePort, bool) {
	i := slices.IndexFunc(s.Ports, func(p ServicePort) bool { return p.Number == number })
	if i < 0 {
		return ServicePort{}, false
	}
	return s.Ports[i], true
}

// AliasesIn returns every name by which a client in the namespace may call the
// service, the fully qualified one first. They are those that the search list of a
// Pod's resolv.conf completes.
func (s *Service) AliasesIn(namespace string) []string {
	aliases := []string{s.Host}
	qualified := s.Name + "." + s.Namespace
	if s.Name != "" && strings.HasPrefix(s.Host, qualified+".svc.") {
		aliases = append(aliases, qualified+".svc", qualified)
		if namespace == s.Namespace {
			aliases = append(aliases, s.Name)
		}
	}
	return aliases
}

// Namespace is what the mesh knows of a namespace.
type Namespace struct {
	Name string
	// Meshed namespaces asked for sidecars by label.
	Meshed bool
	// MTLS is the mode of the namespace's workloads that name none.
	MTLS MTLSMode
	// Sees are the namespaces whose services its workloads are told of; none: as the mesh's
	// settings have it.
	Sees []string
}

// Locality is where something runs.
type Locality struct {
	Region  string
	Zone    string
	Subzone string
}

// Endpoint is one address that serves a port of a service.
type Endpoint struct {
	Address netip.Addr
	// Name is in place of Address: a DNS name, or unix:// and the path of a socket.
	Name string
	// Hostname is the label before the service's host that means this endpoint; empty for none.
	Hostname string
	// PortName is the name of the service's port that it serves.
	PortName string
	Port     uint16
	// Ready, Serving and Terminating are as EndpointSlice defines them: a terminating
	// endpoint that still serves takes traffic only where no ready one is left.
	Ready       bool
	Serving     bool
	Terminating bool
	Locality    Locality
	// Node is the name of the machine; empty if it is not known.
	Node string
	// Weight is its share beside others; zero for 1.
	Weight uint32
	// Labels are those of the workload behind the address; subsets select by them.
	Labels map[string]string
	// Workload names the Pod behind the address; empty if there is none.
	Workload NamespacedName
	// MTLS is that workload's mode; empty if its proxy has no certificates.
	// Of one without a workload, Account is what it shows itself as.
	MTLS    MTLSMode
	Account NamespacedName
}

// Workload is a process with a proxy of its own: in Kubernetes, a Pod.
type Workload struct {
	Namespace      string
	Name           string
	ServiceAccount string
	Labels         map[string]string
	Address        netip.Addr
	// HasIPv6 is whether any address of the workload is an IPv6 one; Address may be
	// another of them.
	HasIPv6  bool
	Locality Locality
	// Node is the name of the machine.
	Node  string
	Ready bool
	// HasCertificates is whether the workload's proxy has certificates of the mesh.
	HasCertificates bool
	// MTLS is the mode that the workload itself names. ModeOf tells which applies.
	MTLS MTLSMode
	// Explicit workloads call their proxy by address; nothing is intercepted.
	Explicit bool
	// Gateway workloads serve Gateways, and no application.
	Gateway bool
	// Ports are the ports on which the application serves, by its own declaration.
	Ports []WorkloadPort
	// OutboundTCP lists the listeners that an explicit workload wants for TCP services.
	OutboundTCP []OutboundTCP
}

// Key returns the workload's namespace and name.
func (w *Workload) Key() NamespacedName { return NamespacedName{w.Namespace, w.Name} }

// WorkloadPort is a port on which an application serves.
type WorkloadPort struct {
	Number   uint16
	Protocol Protocol
}

// OutboundTCP asks for a listener on ListenPort that leads to a service's port.
type OutboundTCP struct {
	Host       string
	Port       uint16
	ListenPort uint16
}
