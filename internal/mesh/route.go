package mesh

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// RouteTable is what one object says about the routing of requests to its hosts.
type RouteTable struct {
	Origin Origin
	// Hosts are fully qualified, lower-case names, names with a leading wildcard, and
	// addresses. A table without is a delegate, which others include. A wildcard stands for
	// all that end in the rest and that no other table names.
	Hosts []string
	// ExportTo are the namespaces that see the table; none stand for all.
	ExportTo []string
	// Gateways are those that the table applies to, as "namespace/name", and MeshGateway
	// for all sidecars, which is also what none means.
	Gateways []string
	// Rule is set for what one RouteRule says. All those for a host make up one table, by
	// precedence, the highest first; it has no Origin, its routes have, and what none of
	// them takes goes to the host.
	Rule       bool
	Precedence int32
	HTTP       []HTTPRoute
	// TLS and TCP route connections, by the name in the client's first message or without.
	TLS []ConnectionRoute
	TCP []ConnectionRoute
}

// ConnectionRoute applies to the connections that one of its matches accepts; none means all.
type ConnectionRoute struct {
	// Path is where the route stands in its object, such as spec.tcp[0], for messages.
	Path         string
	Matches      []ConnectionMatch
	Destinations []Destination
}

// ConnectionMatch accepts a connection that meets all of its conditions.
type ConnectionMatch struct {
	Path string
	// SNI are the names that the client may ask for, wildcards among them.
	SNI []string
	// Port is the service's or the server's that was called; zero means any.
	Port uint16
	// Destinations and Sources are the ranges of addresses that were called, and that call.
	Destinations []netip.Prefix
	Sources      []netip.Prefix
	// SourceLabels and SourceNamespace choose the workloads that the match is for; a gateway
	// does not know them.
	SourceLabels    map[string]string
	SourceNamespace string
	// Gateways confine the match, as those of the table do; none leaves it as it is there.
	Gateways []string
}

// atGateways reports whether the table is for some gateway.
func (t *RouteTable) atGateways() bool {
	return slices.ContainsFunc(t.Gateways, func(gateway string) bool { return gateway != MeshGateway })
}

// MeshGateway stands for all sidecars, where gateways are listed.
const MeshGateway = "mesh"

// AppliesTo reports whether a list of gateways names one; an empty list names all sidecars.
func AppliesTo(gateways []string, gateway string) bool {
	if len(gateways) == 0 {
		return gateway == MeshGateway
	}
	return slices.Contains(gateways, gateway)
}

// Objects returns the objects whose routes these are: the table's own or those of its rules.
func (t *RouteTable) Objects() []ObjectID {
	if !t.Rule {
		return []ObjectID{t.Origin.ObjectID}
	}
	var objects []ObjectID
	for i := range t.HTTP {
		objects = append(objects, t.OriginOf(&t.HTTP[i]).ObjectID)
	}
	return objects
}

// OriginOf returns the object that one of the table's routes stands in.
func (t *RouteTable) OriginOf(route *HTTPRoute) Origin {
	if route.Origin == (Origin{}) {
		return t.Origin
	}
	return route.Origin
}

// looksAtCallers reports whether any route depends on the workload that calls.
func (t *RouteTable) looksAtCallers() bool {
	looks := false
	t.EachSource(func(labels map[string]string, namespace string) bool {
		looks = len(labels) > 0 || namespace != ""
		return !looks
	})
	return looks
}

// EachSource visits what the matches say of the calling workload, until it is told to stop.
func (t *RouteTable) EachSource(visit func(labels map[string]string, namespace string) bool) {
	for _, route := range t.HTTP {
		for _, match := range route.Matches {
			if !visit(match.SourceLabels, match.SourceNamespace) {
				return
			}
		}
	}
	for _, route := range slices.Concat(t.TLS, t.TCP) {
		for _, match := range route.Matches {
			if !visit(match.SourceLabels, match.SourceNamespace) {
				return
			}
		}
	}
}

// HTTPRoute applies to the requests that one of its matches accepts. Routes are
// tried in order. Exactly one of Destinations, Redirect, DirectResponse and Delegate is set.
type HTTPRoute struct {
	// Origin is the object that the route stands in, where that is not the table's own: a
	// delegate, or a RouteRule.
	Origin Origin
	Name   string
	// Path is where the route stands in its object, such as spec.http[0], for messages.
	Path string
	// Matches are alternatives; none means every request.
	Matches        []HTTPMatch
	Destinations   []Destination
	Redirect       *Redirect
	DirectResponse *DirectResponse
	// Delegate names the table that has the routes for these requests. The store puts them
	// in its place; where it cannot, Problem says why.
	Delegate *NamespacedName
	Problem  DelegateProblem
	Rewrite  *Rewrite
	// Timeout of the whole request with its retries; zero means none.
	Timeout time.Duration
	// Retries is nil for the default policy; zero Attempts mean no retry.
	Retries *Retries
	Fault   *Fault
	Mirrors []Mirror
	CORS    *CORS
	Headers HeaderOperations
	// NoUpgrade refuses WebSockets, which are let through otherwise.
	NoUpgrade bool
}

// HTTPMatch accepts a request that meets all of its conditions.
type HTTPMatch struct {
	Path          string
	Name          string
	URI           *StringMatch
	Scheme        *StringMatch
	Method        *StringMatch
	Authority     *StringMatch
	IgnoreURICase bool
	// Headers, WithoutHeaders and QueryParams are sorted by name. A nil Value accepts
	// any value: the name must only be present.
	Headers        []NamedMatch
	WithoutHeaders []NamedMatch
	QueryParams    []NamedMatch
	// Port is the service's port that was called; zero means any.
	Port uint16
	// SourceLabels and SourceNamespace choose the workloads that the match is for. A label
	// whose key SourceService made asks for those behind a service.
	SourceLabels    map[string]string
	SourceNamespace string
	// Gateways confine the match, as those of the table do; none leaves it as it is there.
	Gateways []string
	// StatPrefix names the statistics of what the match takes; empty for none.
	StatPrefix string
}

// sourceService begins the key of a label that no Pod can have.
const sourceService = "@service/"

// SourceService returns the key of a label that workloads have which serve a host.
func SourceService(host string) string { return sourceService + host }

// ServiceOfSource returns the host of a key that SourceService made.
func ServiceOfSource(key string) (host string, found bool) {
	return strings.CutPrefix(key, sourceService)
}

// NamedMatch is a condition on a header or query parameter.
type NamedMatch struct {
	Name  string
	Value *StringMatch
}

// MatchKind says how a StringMatch compares.
type MatchKind int

// The kinds of comparison. Regular expressions are RE2 and must match the whole value.
const (
	Exact MatchKind = iota
	Prefix
	Regex
)

// StringMatch is a condition on a string.
type StringMatch struct {
	Kind  MatchKind
	Value string
}

// Destination is where a share of a route's requests goes.
type Destination struct {
	// Path is where the destination stands in its object, for messages.
	Path string
	// Host is fully qualified and lower-case.
	Host string
	// Port is zero for the service's only port, or else the port that was called.
	Port uint16
	// Subset names a subset of the host's policy; Labels select endpoints directly.
	Subset string
	Labels map[string]string
	// Weight is the destination's share of the sum of all weights.
	Weight  uint32
	Headers HeaderOperations
}

// HeaderOperations change the headers of requests and responses.
type HeaderOperations struct {
	Request  HeaderChange
	Response HeaderChange
	// Authority replaces the Host header; empty leaves it.
	Authority string
}

func (h *HeaderOperations) isEmpty() bool {
	return h.Authority == "" && h.Request.isEmpty() && h.Response.isEmpty()
}

func (c *HeaderChange) isEmpty() bool { return len(c.Set)+len(c.Add)+len(c.Remove) == 0 }

// HeaderChange sets, adds and removes headers; Set and Add are sorted by name.
type HeaderChange struct {
	Set    []HeaderValue
	Add    []HeaderValue
	Remove []string
}

// HeaderValue is a header with its value.
type HeaderValue struct {
	Name  string
	Value string
}

// Rewrite changes a request before it is forwarded.
type Rewrite struct {
	// URI replaces the matched prefix, or the whole path where the match was not a
	// prefix; empty leaves the path.
	URI string
	// URIRegex replaces by regular expression, instead of URI.
	URIRegex *RegexRewrite
	// Authority replaces the Host header; empty leaves it.
	Authority string
}

// RegexRewrite replaces what Match matches by Substitution.
type RegexRewrite struct {
	Match        string
	Substitution string
}

// Redirect answers with a redirection.
type Redirect struct {
	URI string
	// PrefixRewrite replaces the prefix that was matched, instead of URI.
	PrefixRewrite string

	Authority string
	Scheme    string
	// Port replaces the port. Where it is zero, PortFromProtocol takes the scheme's own
	// port and PortFromRequest the one that was called; with neither, the port stays as
	// long as Authority is empty.
	Port             uint16
	PortFromProtocol bool
	PortFromRequest  bool
	// Code is 301, 302, 303, 307 or 308.
	Code uint32
}

// DirectResponse answers without forwarding.
type DirectResponse struct {
	Status uint32
	Body   []byte
}

// Retries says when a failed request is tried again.
type Retries struct {
	Attempts uint32
	// PerTry bounds each attempt; zero means the route's timeout.
	PerTry time.Duration
	// On lists conditions in Envoy's words, with HTTP status codes among them; empty
	// means the default conditions.
	On string
	// RemoteLocalities lets a retry leave the locality.
	RemoteLocalities bool
	// Backoff is the base interval between attempts; zero means Envoy's own.
	Backoff time.Duration
	// IgnorePreviousHosts makes a retry prefer hosts that were not tried already. Nil
	// means that it does.
	IgnorePreviousHosts *bool
}
