package mesh

import (
	"slices"
	"strings"
)

// Unreachable is a match that no request comes to, since an earlier one takes them all.
type Unreachable struct {
	// Route and Match are its place among the table's routes; Match is -1 for the whole route.
	Route, Match int
	// By is the place of a match that takes its requests; ByMatch is -1 for a route that
	// takes every request.
	By, ByMatch int
}

// maxCompared bounds how many matches are compared, each with all before it: 1,000 take
// a few milliseconds.
const maxCompared = 1000

// Unreachable returns what can be told from the matches alone to be unreachable. For a
// route with all its matches unreachable that is the route.
func (t *RouteTable) Unreachable() []Unreachable {
	type place struct{ route, match int }
	var places []place
	var before []*HTTPMatch
	var found []Unreachable
	for i := range t.HTTP {
		matches, only := t.HTTP[i].Matches, len(found)
		if len(matches) == 0 && t.HTTP[i].Problem != DelegateOutside {
			matches = []HTTPMatch{{}}
		}
		for j := range matches {
			at := place{i, j}
			if len(t.HTTP[i].Matches) == 0 {
				at.match = -1
			}
			k := slices.IndexFunc(before, func(earlier *HTTPMatch) bool { return earlier.covers(&matches[j]) })
			if k >= 0 {
				found = append(found, Unreachable{i, at.match, places[k].route, places[k].match})
			} else if len(before) < maxCompared {
				before, places = append(before, &matches[j]), append(places, at)
			}
		}
		if len(found)-only == len(matches) && len(matches) > 0 {
			found = append(found[:only], Unreachable{i, -1, found[only].By, found[only].ByMatch})
		}
	}
	return found
}

// PathOf returns where one of the route's matches stands in its object; -1 is the whole route.
func (r *HTTPRoute) PathOf(match int) string {
	if match < 0 {
		return r.Path
	}
	return r.Matches[match].Path
}

// covers reports whether every request that the other match accepts is certainly accepted
// by this one.
func (m *HTTPMatch) covers(other *HTTPMatch) bool {
	return m.coversPath(other) && covers(m.Scheme, other.Scheme) && covers(m.Method, other.Method) && covers(m.Authority, other.Authority) &&
		coverAll(m.Headers, other.Headers, covers) && coverAll(m.QueryParams, other.QueryParams, covers) &&
		coverAll(m.WithoutHeaders, other.WithoutHeaders, same) &&
		(m.Port == 0 || m.Port == other.Port) && (m.SourceNamespace == "" || m.SourceNamespace == other.SourceNamespace) &&
		Selects(m.SourceLabels, other.SourceLabels) && (len(m.Gateways) == 0 || slices.Equal(m.Gateways, other.Gateways))
}

func (m *HTTPMatch) coversPath(other *HTTPMatch) bool {
	switch {
	case m.URI == nil || *m.URI == StringMatch{Kind: Prefix, Value: "/"}:
		return true
	case other.URI == nil || other.IgnoreURICase && !m.IgnoreURICase:
		return false
	case m.IgnoreURICase && other.URI.Kind != Regex:
		mine, others := *m.URI, *other.URI
		mine.Value, others.Value = strings.ToLower(mine.Value), strings.ToLower(others.Value)
		return covers(&mine, &others)
	}
	return covers(m.URI, other.URI)
}

// covers reports whether the text that b accepts is accepted by a. Nil accepts any; of
// headers, any that is present.
func covers(a, b *StringMatch) bool {
	switch {
	case a == nil:
		return true
	case b == nil:
		return false
	case a.Kind == Prefix && b.Kind != Regex:
		return strings.HasPrefix(b.Value, a.Value)
	}
	return *a == *b
}

func same(a, b *StringMatch) bool { return a == b || a != nil && b != nil && *a == *b }

// coverAll reports whether for each of the conditions there is one of the others that it covers.
func coverAll(conditions, others []NamedMatch, covers func(a, b *StringMatch) bool) bool {
	for _, condition := range conditions {
		if !slices.ContainsFunc(others, func(other NamedMatch) bool {
			return other.Name == condition.Name && covers(condition.Value, other.Value)
		}) {
			return false
		}
	}
	return true
}
