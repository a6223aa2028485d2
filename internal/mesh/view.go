package mesh

import "net/netip"

// Kind says what sort of value a Key names.
type Kind uint8

// The kinds of values that translation reads. Host-keyed kinds use the fully
// qualified host as name, workload-keyed ones "namespace/name".
const (
	// KindService is one service.
	KindService Kind = iota
	// KindServices is the set of service hosts and the shape of each (not their
	// endpoints); its name is empty.
	KindServices
	// KindEndpoints is the endpoints of one service, with their labels and localities.
	KindEndpoints
	// KindRoutes is the route tables that cover one host.
	KindRoutes
	// KindPolicies is the policies for one host.
	KindPolicies
	// KindLabelSubsets is the label sets that destinations select of one host, and by
	// which objects.
	KindLabelSubsets
	// KindWorkload is one workload.
	KindWorkload
	// KindServing is the service ports that one workload serves.
	KindServing
	// KindSourceHosts is the set of hosts whose routes look at the calling workload;
	// its name is empty.
	KindSourceHosts
	// KindRoutedHosts is the set of hosts that some route table names; its name is empty.
	KindRoutedHosts
	// KindNamespace is one namespace.
	KindNamespace
	// KindServiceName is the service that has one namespace and name.
	KindServiceName
	// KindPolicyHosts is the set of hosts that some policy is for; its name is empty.
	KindPolicyHosts
	// KindServiceRanges is the address ranges of services; its name is empty.
	KindServiceRanges
	// KindAccounts is the service accounts of one service's endpoints.
	KindAccounts
	// KindGatewayNames is the set of gateways, and of those that some route table is bound to;
	// its name is empty. KindGateway is one of them.
	KindGatewayNames
	KindGateway
	// KindGatewayRoutes is the route tables that are bound to one gateway, "namespace/name".
	KindGatewayRoutes
	// KindGatewayWorkloads is the set of gateway workloads; its name is empty.
	KindGatewayWorkloads
	// KindCredential is what one Secret holds for TLS.
	KindCredential
	// KindAddress is the services that have one address.
	KindAddress
	// KindHostnames is the names of single endpoints of one service.
	KindHostnames
	// KindPorts is the set of ports that some services are called by alone; its name is empty.
	// KindPortHosts is the hosts of those of one port.
	KindPorts
	KindPortHosts
	// KindNarrowHosts is the set of hosts for which callers' namespaces matter; its name is
	// empty.
	KindNarrowHosts
	// KindLooks is what is looked at of callers; its name is empty.
	KindLooks
	// KindDestinations is the hosts that the route tables of one host lead to.
	KindDestinations
	// KindHealth is what one check found.
	KindHealth
	// KindSettings is the settings of the mesh; its name is empty.
	KindSettings
)

// Key names a value that translation reads, so that what was built from it can be
// found again when it changes.
type Key struct {
	Kind Kind
	Name string
}

// View is what translation may read of the mesh. Everything that it returns is
// immutable and sorted, so that the same mesh gives the same bytes.
type View interface {
	// Claims returns the services that have a host: Kubernetes' own first, then the oldest.
	// ServiceFor tells which a caller gets.
	Claims(host string) []*Service
	// Service returns the first of Claims, nil if there is none.
	Service(host string) *Service
	// Services returns one service of each host, the first of Claims, by host.
	Services() []*Service
	// Addressed returns the services that have an address, in the order of Claims.
	Addressed(address netip.Addr) []*Service
	// Ports returns the ports by which alone some services are called; PortHosts the hosts of
	// those of one port.
	Ports() []uint16
	PortHosts(port uint16) []string
	// Endpoints returns the endpoints of a service, by its key, by address and port.
	Endpoints(key string) []Endpoint
	// Hostnames returns the labels that mean single endpoints of a service, by its key.
	Hostnames(key string) []string
	// Accounts returns the service accounts as which the proxies behind a service's
	// endpoints may show themselves, by its key; none if no proxy there has certificates.
	Accounts(key string) []NamespacedName
	// Routes returns the route tables that cover the host, seen by everybody or not: those
	// that name it first, then those with longer wildcards, and the oldest first among these.
	// Winners tells which apply.
	Routes(host string) []*RouteTable
	// Policies returns the policies that cover the host, in the same order. PolicyFor tells
	// which applies.
	Policies(host string) []*Policy
	// LabelSubsets returns the distinct label sets that destinations select of the host.
	LabelSubsets(host string) []LabelSubset
	// Workload returns a workload, nil if there is none.
	Workload(key NamespacedName) *Workload
	// Serving returns the service ports that a workload serves.
	Serving(key NamespacedName) []ServingPort
	// SourceHosts returns the hosts, wildcards among them, whose routes look at the calling
	// workload.
	SourceHosts() []string
	// RoutedHosts returns the hosts that some route table names.
	RoutedHosts() []string
	// NarrowHosts returns the hosts, wildcards among them, for which what a caller gets
	// depends on its namespace: an object for them is not exported to all, or a policy is
	// neither of the service's namespace nor of the root.
	NarrowHosts() []string
	// Looks returns what policies look at of the callers of hosts, by host as they have it.
	Looks() map[string]Looks
	// Destinations returns the hosts that the route tables of a host lead to.
	Destinations(host string) []string
	// Namespace returns a namespace, nil if there is none.
	Namespace(name string) *Namespace
	// ServiceNamed returns the service with a namespace and name, nil if there is none.
	ServiceNamed(name NamespacedName) *Service
	// PolicyHosts returns the hosts that some policy is for.
	PolicyHosts() []string
	// ServiceRanges returns the ranges that services get their addresses from; none if
	// they are not known.
	ServiceRanges() []netip.Prefix
	// GatewayNames returns all gateways, and all that some route table is bound to, as
	// "namespace/name".
	GatewayNames() []string
	// Gateway returns a gateway, nil if there is none.
	Gateway(name string) *Gateway
	// GatewayRoutes returns the route tables bound to a gateway, "namespace/name", the oldest
	// first.
	GatewayRoutes(gateway string) []*RouteTable
	// GatewayWorkloads returns the workloads that are gateways, by name.
	GatewayWorkloads() []*Workload
	// Credential returns what a Secret holds, nil as long as that is not known: to read it
	// here is what makes it known.
	Credential(name NamespacedName) *Credential
	// Unhealthy returns the endpoints, as ADDRESS:PORT, that a check found to be ill, sorted.
	Unhealthy(check string) []string
	// Settings returns the settings of the mesh, with nothing unset.
	Settings() Settings
}

// LabelSubset is a set of labels that destinations select endpoints by.
type LabelSubset struct {
	Labels map[string]string
	// Selectors are the objects whose destinations do so, sorted.
	Selectors []ObjectID
}

// ServingPort is a service port together with the workload's port behind it.
type ServingPort struct {
	Host       string
	Port       ServicePort
	TargetPort uint16
}

// Recorder wraps a View and notes which keys were read through it.
type Recorder struct {
	View
	Read map[Key]struct{}
}

// NewRecorder returns a Recorder over view that has noted nothing yet.
func NewRecorder(view View) *Recorder {
	return &Recorder{View: view, Read: map[Key]struct{}{}}
}

func (r *Recorder) note(kind Kind, name string) { r.Read[Key{kind, name}] = struct{}{} }

// Service implements View.
func (r *Recorder) Service(host string) *Service {
	r.note(KindService, host)
	return r.View.Service(host)
}

// Services implements View.
func (r *Recorder) Services() []*Service {
	r.note(KindServices, "")
	return r.View.Services()
}

// Endpoints implements View.
func (r *Recorder) Endpoints(host string) []Endpoint {
	r.note(KindEndpoints, host)
	return r.View.Endpoints(host)
}

// Accounts implements View.
func (r *Recorder) Accounts(host string) []NamespacedName {
	r.note(KindAccounts, host)
	return r.View.Accounts(host)
}

// Routes implements View.
func (r *Recorder) Routes(host string) []*RouteTable {
	r.note(KindRoutes, host)
	return r.View.Routes(host)
}

// Policies implements View.
func (r *Recorder) Policies(host string) []*Policy {
	r.note(KindPolicies, host)
	return r.View.Policies(host)
}

// LabelSubsets implements View.
func (r *Recorder) LabelSubsets(host string) []LabelSubset {
	r.note(KindLabelSubsets, host)
	return r.View.LabelSubsets(host)
}

// Workload implements View.
func (r *Recorder) Workload(key NamespacedName) *Workload {
	r.note(KindWorkload, key.String())
	return r.View.Workload(key)
}

// Serving implements View.
func (r *Recorder) Serving(key NamespacedName) []ServingPort {
	r.note(KindServing, key.String())
	return r.View.Serving(key)
}

// SourceHosts implements View.
func (r *Recorder) SourceHosts() []string {
	r.note(KindSourceHosts, "")
	return r.View.SourceHosts()
}

// RoutedHosts implements View.
func (r *Recorder) RoutedHosts() []string {
	r.note(KindRoutedHosts, "")
	return r.View.RoutedHosts()
}

// Namespace implements View.
func (r *Recorder) Namespace(name string) *Namespace {
	r.note(KindNamespace, name)
	return r.View.Namespace(name)
}

// ServiceNamed implements View.
func (r *Recorder) ServiceNamed(name NamespacedName) *Service {
	r.note(KindServiceName, name.String())
	return r.View.ServiceNamed(name)
}

// PolicyHosts implements View.
func (r *Recorder) PolicyHosts() []string {
	r.note(KindPolicyHosts, "")
	return r.View.PolicyHosts()
}

// ServiceRanges implements View.
func (r *Recorder) ServiceRanges() []netip.Prefix {
	r.note(KindServiceRanges, "")
	return r.View.ServiceRanges()
}
