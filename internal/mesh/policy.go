package mesh

import (
	"slices"
	"time"
)

// Policy is what applies to the traffic to a host once it is routed there.
type Policy struct {
	Origin Origin
	// Host is as a route table's.
	Host string
	// ExportTo are the namespaces that see the policy; none stand for all.
	ExportTo []string
	// Selector is labels of the callers that the policy is for; none stand for all.
	Selector map[string]string
	Subsets  []Subset
	// Traffic is what holds for all subsets that say nothing else.
	Traffic Traffic
}

// Subset names the endpoints of a host that carry some labels.
type Subset struct {
	Name    string
	Path    string
	Labels  map[string]string
	Traffic Traffic
}

// Traffic is how traffic reaches a host or a subset, in groups of settings. Nil is a group
// of which nothing is said.
type Traffic struct {
	LoadBalancer *LoadBalancer
	Connections  *Connections
	Outliers     *OutlierDetection
	TLS          *ClientTLS
	HealthCheck  *HealthCheck
	Tunnel       *Tunnel
	// ProxyProtocol is the version of the header before each connection; zero for none.
	ProxyProtocol int
	RetryBudget   *RetryBudget
	// Ports are single ports of the host, each with what is said of it.
	Ports []PortTraffic
}

// PortTraffic is what is said of one port: its first five groups stand in place of those
// around it, unset ones too.
type PortTraffic struct {
	Port    uint16
	Path    string
	Traffic Traffic
}

// For returns what is said of the traffic to a subset's port. What is said of the subset
// goes before what is said of the host, and there what is said of the port before the rest.
func (p *Policy) For(subset string, port uint16) Traffic {
	if p == nil {
		return Traffic{}
	}
	traffic := p.Traffic.of(port)
	if s, found := p.Subset(subset); found {
		traffic = s.Traffic.over(traffic).of(port)
	}
	return traffic
}

// of returns the traffic to a port, with what of Ports applied.
func (t Traffic) of(port uint16) Traffic {
	ports := t.Ports
	t.Ports = nil
	for _, p := range ports {
		if p.Port == port {
			t.LoadBalancer, t.Connections, t.Outliers = p.Traffic.LoadBalancer, p.Traffic.Connections, p.Traffic.Outliers
			t.TLS, t.HealthCheck, t.Ports = p.Traffic.TLS, p.Traffic.HealthCheck, []PortTraffic{p}
		}
	}
	return t
}

// over returns the groups of t, those of another where t has none, and the ports of t.
func (t Traffic) over(other Traffic) Traffic {
	t.LoadBalancer = either(t.LoadBalancer, other.LoadBalancer)
	t.Connections = either(t.Connections, other.Connections)
	t.Outliers = either(t.Outliers, other.Outliers)
	t.TLS = either(t.TLS, other.TLS)
	t.HealthCheck = either(t.HealthCheck, other.HealthCheck)
	t.Tunnel = either(t.Tunnel, other.Tunnel)
	t.RetryBudget = either(t.RetryBudget, other.RetryBudget)
	if t.ProxyProtocol == 0 {
		t.ProxyProtocol = other.ProxyProtocol
	}
	return t
}

func either[T any](first, second *T) *T {
	if first != nil {
		return first
	}
	return second
}

// IsZero reports whether nothing is said.
func (t Traffic) IsZero() bool {
	return t.LoadBalancer == nil && t.Connections == nil && t.Outliers == nil && t.TLS == nil && t.HealthCheck == nil &&
		t.Tunnel == nil && t.ProxyProtocol == 0 && t.RetryBudget == nil && len(t.Ports) == 0
}

// Subset returns the subset with the name given.
func (p *Policy) Subset(name string) (Subset, bool) {
	if p != nil && name != "" {
		if i := slices.IndexFunc(p.Subsets, func(s Subset) bool { return s.Name == name }); i >= 0 {
			return p.Subsets[i], true
		}
	}
	return Subset{}, false
}

// All returns everything that the policy says of traffic, wherever it says it.
func (p *Policy) All() []Traffic {
	all := []Traffic{p.Traffic}
	for _, subset := range p.Subsets {
		all = append(all, subset.Traffic)
	}
	for _, traffic := range slices.Clone(all) {
		for _, port := range traffic.Ports {
			all = append(all, port.Traffic)
		}
	}
	return all
}

// hasCredential reports whether callers need a Secret of their own namespace.
func (p *Policy) hasCredential() bool {
	return slices.ContainsFunc(p.All(), func(t Traffic) bool { return t.TLS != nil && t.TLS.Credential != "" })
}

// Algorithm is how an endpoint is chosen.
type Algorithm string

// The algorithms. Passthrough is the address that the caller chose.
const (
	LeastRequest Algorithm = "LEAST_REQUEST"
	RoundRobin   Algorithm = "ROUND_ROBIN"
	Random       Algorithm = "RANDOM"
	Passthrough  Algorithm = "PASSTHROUGH"
	RingHash     Algorithm = "RING_HASH"
	MaglevHash   Algorithm = "MAGLEV"
)

// LoadBalancer says how an endpoint is chosen.
type LoadBalancer struct {
	Algorithm Algorithm
	// Hash is the key of the hashing algorithms, and TableSize the entries of a table or, at
	// least, of a ring.
	Hash      *Hash
	TableSize uint64
	// Locality is nil where nothing is said of localities.
	Locality *LocalityPreference
	Warmup   *Warmup
}

// Hash is the part of a request by which endpoints are chosen; one field is set.
type Hash struct {
	Header   string
	Query    string
	Cookie   *Cookie
	SourceIP bool
}

// Cookie identifies a client.
type Cookie struct {
	Name, Path string
	// TTL is the lifetime of a cookie that the proxy makes, zero for the browser's session;
	// nil if it makes none.
	TTL        *time.Duration
	Attributes []HeaderValue
}

// Warmup lets a new endpoint's share grow.
type Warmup struct {
	Duration       time.Duration
	MinimumPercent float64
	Aggression     float64
}

// LocalityPreference says which endpoints are nearer to a caller than others.
type LocalityPreference struct {
	// Off has localities not count at all.
	Off bool
	// ZoneAware keeps traffic within the caller's zone as far as that has its share of the
	// region's endpoints, where these are at least so many; zero is not to.
	ZoneAware  uint32
	Distribute []Distribution
	Failover   []Failover
	// Priority is labels, "key" or "key=value", in falling order of weight.
	Priority []string
}

// Weighs reports whether localities have shares of the traffic.
func (l *LocalityPreference) Weighs() bool {
	return l != nil && !l.Off && (l.ZoneAware > 0 || len(l.Distribute) > 0)
}

// Distribution shares traffic out by the localities of endpoints, in percent, for callers of
// a locality.
type Distribution struct {
	From string
	To   map[string]uint32
}

// Failover has one region stand in for another.
type Failover struct{ From, To string }

// Connections are limits on connections and requests; zero where there is none.
type Connections struct {
	MaxConnections           uint32
	MaxPending               uint32
	MaxRequests              uint32
	MaxRetries               uint32
	MaxRequestsPerConnection uint32
	MaxStreams               uint32
	ConnectTimeout           time.Duration
	MaxDuration              time.Duration
	Keepalive                *Keepalive
	// TCPIdle is how long a connection may be silent, zero for ever; nil is for the proxy to
	// say. HTTPIdle is the same for one without requests.
	TCPIdle  *time.Duration
	HTTPIdle time.Duration
	// Upgrade sends HTTP/1.1 requests on as HTTP/2, ClientProtocol keeps the client's.
	Upgrade        bool
	ClientProtocol bool
	Ping           *Ping
}

// Keepalive probes silent TCP connections; zero is the system's own.
type Keepalive struct {
	Probes         uint32
	Time, Interval time.Duration
}

// Ping checks HTTP/2 connections.
type Ping struct{ Interval, Timeout time.Duration }

// OutlierDetection takes failing endpoints out of load balancing for a while.
type OutlierDetection struct {
	// Errors in a row before ejection; zero is never.
	Consecutive5xx, ConsecutiveGateway, ConsecutiveLocal uint32
	// SplitLocal counts errors made locally apart.
	SplitLocal bool
	// Interval and BaseEjection are zero for the proxy's defaults, MaxEjectionPercent too.
	Interval, BaseEjection time.Duration
	MaxEjectionPercent     uint32
	MinHealthPercent       uint32
	// Codes are the statuses that count as errors; none stand for 5xx.
	Codes []int32
}

// TLSMode is how a caller secures its connections.
type TLSMode string

// What callers do. Without any settings they speak mutual TLS of the mesh with each
// endpoint whose proxy has certificates.
const (
	// TLSDisable is plaintext.
	TLSDisable TLSMode = "DISABLE"
	// TLSSimple verifies the server.
	TLSSimple TLSMode = "SIMPLE"
	// TLSMutual presents a given certificate, too.
	TLSMutual TLSMode = "MUTUAL"
	// TLSMesh is mutual TLS of the mesh, and nothing where that is not to be had.
	TLSMesh TLSMode = "MESH_MUTUAL"
)

// ClientTLS are the TLS settings of a caller.
type ClientTLS struct {
	Mode TLSMode
	Path string
	// Files of the proxy's file system; no Roots stand for the system's.
	Certificate, Key, Roots, Revoked string
	// Credential is a Secret of the caller's namespace in place of files.
	Credential string
	SNI        string
	Names      []string
	SkipVerify bool
}

// Own reports whether the settings are for TLS that is not the mesh's.
func (t *ClientTLS) Own() bool { return t != nil && (t.Mode == TLSSimple || t.Mode == TLSMutual) }

// Mode returns the mode that traffic is to have; nothing where callers do as they can.
func (t Traffic) Mode() TLSMode {
	if t.TLS == nil {
		return ""
	}
	return t.TLS.Mode
}

// Tunnel carries TCP within HTTP to a host and port beyond.
type Tunnel struct {
	// Place is where it stands in its object, for messages.
	Place  string
	Target string
	Post   bool
}

// RetryBudget limits concurrent retries in proportion to requests.
type RetryBudget struct {
	Percent        float64
	MinConcurrency uint32
	Interval       time.Duration
}

// HealthProtocol is how endpoints are asked how they are.
type HealthProtocol string

// The ways to ask: a request for a path, gRPC's health service, a connection.
const (
	HealthHTTP HealthProtocol = "HTTP"
	HealthGRPC HealthProtocol = "GRPC"
	HealthTCP  HealthProtocol = "TCP"
)

// HealthCheck has endpoints asked how they are.
type HealthCheck struct {
	Protocol HealthProtocol
	// ForAll is whether a few proxies ask for all callers, in place of each for itself.
	ForAll bool
	// Place is where the check stands in its object, for messages.
	Place string
	// Path is HTTP's, Service gRPC's.
	Path, Service      string
	Interval, Timeout  time.Duration
	Healthy, Unhealthy uint32
}
