package mesh

import (
	"maps"
	"slices"
	"strings"
)

// DelegateProblem says why the routes of a delegate are not in the place of the route that
// names it.
type DelegateProblem int

// The problems. What there is one with answers 503, but for DelegateOutside: such a route
// takes no request at all.
const (
	// DelegateMissing: there is no such delegate, or the table's namespace does not see it.
	DelegateMissing DelegateProblem = iota + 1
	// DelegateOutside: no match of the delegate's route lies within one of the route that
	// names the delegate.
	DelegateOutside
)

// withDelegates returns a table with the routes of its delegates in their places.
func withDelegates(root *RouteTable, find func(NamespacedName) *RouteTable) *RouteTable {
	merged := *root
	merged.HTTP = nil
	for _, route := range root.HTTP {
		if route.Delegate == nil {
			merged.HTTP = append(merged.HTTP, route)
			continue
		}
		delegate := find(*route.Delegate)
		if delegate == nil {
			route.Problem = DelegateMissing
			merged.HTTP = append(merged.HTTP, route)
			continue
		}
		for _, inner := range delegate.HTTP {
			inner.Origin = delegate.Origin
			merged.HTTP = append(merged.HTTP, route.including(inner))
		}
	}
	return &merged
}

// including returns a delegate's route, narrowed to the requests that the route takes, and
// with what the route says where the delegate's says nothing.
func (r *HTTPRoute) including(inner HTTPRoute) HTTPRoute {
	switch {
	case len(inner.Matches) == 0:
		inner.Matches = slices.Clone(r.Matches)
		for i := range inner.Matches {
			inner.Matches[i].Path = inner.Path // where the delegate stands for them
		}
	case len(r.Matches) > 0:
		var matches []HTTPMatch
		for _, outer := range r.Matches {
			for _, match := range inner.Matches {
				if both, possible := match.within(outer); possible {
					matches = append(matches, both)
				}
			}
		}
		if len(matches) == 0 {
			inner.Problem = DelegateOutside
		}
		inner.Matches = matches
	}
	inner.Name = strings.Trim(r.Name+"-"+inner.Name, "-")
	forwards := len(inner.Destinations) > 0
	if inner.Headers.isEmpty() {
		inner.Headers = r.Headers
		if !forwards {
			inner.Headers.Request, inner.Headers.Authority = HeaderChange{}, ""
		}
	}
	if forwards {
		inner.forwardedAs(r)
	}
	return inner
}

// forwardedAs takes from another route what only applies to requests that are forwarded.
func (r *HTTPRoute) forwardedAs(other *HTTPRoute) {
	if r.Rewrite == nil {
		r.Rewrite = other.Rewrite
	}
	if r.Timeout == 0 {
		r.Timeout = other.Timeout
	}
	if r.Retries == nil {
		r.Retries = other.Retries
	}
	if r.CORS == nil {
		r.CORS = other.CORS
	}
	if r.Fault == nil {
		r.Fault = other.Fault
	}
	if len(r.Mirrors) == 0 {
		r.Mirrors = other.Mirrors
	}
}

// within returns the match that accepts what both accept, and false if its path or its
// callers do not lie within those of the outer one.
func (m HTTPMatch) within(outer HTTPMatch) (HTTPMatch, bool) {
	if m.URI == nil {
		m.URI, m.IgnoreURICase = outer.URI, outer.IgnoreURICase
	} else if !outer.coversPath(&m) {
		return m, false
	}
	m.Headers = slices.Concat(outer.Headers, m.Headers)
	for _, part := range []struct {
		name  string
		inner **StringMatch
		outer *StringMatch
	}{{":scheme", &m.Scheme, outer.Scheme}, {":method", &m.Method, outer.Method}, {":authority", &m.Authority, outer.Authority}} {
		switch {
		case *part.inner == nil:
			*part.inner = part.outer
		case part.outer != nil && *part.outer != **part.inner:
			// They are headers to Envoy, and of one header several things may be asked.
			m.Headers = append(m.Headers, NamedMatch{part.name, part.outer})
		}
	}
	m.Headers = sortedMatches(m.Headers)
	m.WithoutHeaders = sortedMatches(slices.Concat(outer.WithoutHeaders, m.WithoutHeaders))
	m.QueryParams = sortedMatches(slices.Concat(outer.QueryParams, m.QueryParams))
	if m.Name == "" {
		m.Name = outer.Name
	}
	if m.StatPrefix == "" {
		m.StatPrefix = outer.StatPrefix
	}
	return m, m.narrowCallers(&outer)
}

// narrowCallers adds what the outer match asks of the port and the caller, and reports
// whether anybody is left.
func (m *HTTPMatch) narrowCallers(outer *HTTPMatch) bool {
	if m.Port == 0 {
		m.Port = outer.Port
	}
	if m.SourceNamespace == "" {
		m.SourceNamespace = outer.SourceNamespace
	}
	labels := maps.Clone(outer.SourceLabels)
	if labels == nil {
		labels = m.SourceLabels
	} else {
		maps.Copy(labels, m.SourceLabels)
	}
	m.SourceLabels = labels
	someGateway := true
	switch {
	case len(m.Gateways) == 0:
		m.Gateways = outer.Gateways
	case len(outer.Gateways) > 0:
		m.Gateways = slices.DeleteFunc(slices.Clone(m.Gateways), func(g string) bool { return !slices.Contains(outer.Gateways, g) })
		someGateway = len(m.Gateways) > 0
	}
	return someGateway && Selects(outer.SourceLabels, labels) &&
		(outer.Port == 0 || outer.Port == m.Port) && (outer.SourceNamespace == "" || outer.SourceNamespace == m.SourceNamespace)
}

func sortedMatches(matches []NamedMatch) []NamedMatch {
	slices.SortStableFunc(matches, func(a, b NamedMatch) int { return strings.Compare(a.Name, b.Name) })
	return matches
}
