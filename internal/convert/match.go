package convert

import (
	"maps"
	"slices"
	"strings"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
)

func (c names) match(path string, from *v1alpha1.HTTPMatchRequest) mesh.HTTPMatch {
	return mesh.HTTPMatch{
		Path:            path,
		Name:            from.Name,
		URI:             stringMatch(from.URI),
		Scheme:          stringMatch(from.Scheme),
		Method:          stringMatch(from.Method),
		Authority:       stringMatch(from.Authority),
		IgnoreURICase:   from.IgnoreURICase,
		Headers:         namedMatches(from.Headers, strings.ToLower),
		WithoutHeaders:  namedMatches(from.WithoutHeaders, strings.ToLower),
		QueryParams:     namedMatches(from.QueryParams, nil),
		Port:            uint16(from.Port),
		SourceLabels:    from.SourceLabels,
		SourceNamespace: from.SourceNamespace,
		StatPrefix:      from.StatPrefix,
		Gateways:        c.gateways(from.Gateways),
	}
}

// stringMatch returns nil where nothing is compared.
func stringMatch(from *v1alpha1.StringMatch) *mesh.StringMatch {
	switch {
	case from == nil:
		return nil
	case from.Exact != nil:
		return &mesh.StringMatch{Kind: mesh.Exact, Value: *from.Exact}
	case from.Prefix != "":
		return &mesh.StringMatch{Kind: mesh.Prefix, Value: from.Prefix}
	case from.Regex != "":
		return &mesh.StringMatch{Kind: mesh.Regex, Value: from.Regex}
	}
	return nil
}

// namedMatches returns the conditions by name, in the spelling that spell gives them; two
// spellings of one name are two conditions.
func namedMatches(from map[string]v1alpha1.StringMatch, spell func(string) string) []mesh.NamedMatch {
	var to []mesh.NamedMatch
	for _, name := range slices.Sorted(maps.Keys(from)) {
		value := from[name]
		if spell != nil {
			name = spell(name)
		}
		to = append(to, mesh.NamedMatch{Name: name, Value: stringMatch(&value)})
	}
	slices.SortStableFunc(to, func(a, b mesh.NamedMatch) int { return strings.Compare(a.Name, b.Name) })
	return to
}

func headers(from *v1alpha1.Headers) mesh.HeaderOperations {
	if from == nil {
		return mesh.HeaderOperations{}
	}
	to := mesh.HeaderOperations{Request: headerChange(from.Request), Response: headerChange(from.Response)}
	to.Request.Set = slices.DeleteFunc(to.Request.Set, func(header mesh.HeaderValue) bool {
		isHost := header.Name == "host" || header.Name == ":authority"
		if isHost {
			to.Authority = header.Value
		}
		return isHost
	})
	return to
}

func headerChange(from *v1alpha1.HeaderOperations) mesh.HeaderChange {
	if from == nil {
		return mesh.HeaderChange{}
	}
	change := mesh.HeaderChange{Set: headerValues(from.Set), Add: headerValues(from.Add)}
	for _, name := range from.Remove {
		change.Remove = append(change.Remove, strings.ToLower(name))
	}
	slices.Sort(change.Remove)
	change.Remove = slices.Compact(change.Remove)
	return change
}

func headerValues(from map[string]string) []mesh.HeaderValue {
	var to []mesh.HeaderValue
	for name, value := range from {
		to = append(to, mesh.HeaderValue{Name: strings.ToLower(name), Value: value})
	}
	slices.SortFunc(to, func(a, b mesh.HeaderValue) int { return strings.Compare(a.Name, b.Name) })
	return to
}
