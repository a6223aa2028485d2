package validate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/message"
)

func (c *checker) match(path *field.Path, match *v1alpha1.HTTPMatchRequest) {
	for _, part := range []struct {
		name  string
		value *v1alpha1.StringMatch
	}{
		{"uri", match.URI}, {"scheme", match.Scheme}, {"method", match.Method}, {"authority", match.Authority},
	} {
		if part.value != nil {
			c.stringMatch(path.Child(part.name), part.value, true)
		}
	}
	if match.IgnoreURICase {
		switch {
		case match.URI == nil:
			c.conflict(path.Child("ignoreUriCase"), "it has no effect without uri", "set uri, or remove ignoreUriCase")
		case match.URI.Regex != "":
			c.conflict(path.Child("ignoreUriCase"), "it has no effect on uri.regex", "remove it, and begin the expression with (?i)")
		}
	}
	c.headerMatches(path.Child("headers"), match.Headers)
	c.headerMatches(path.Child("withoutHeaders"), match.WithoutHeaders)
	for _, name := range slices.Sorted(maps.Keys(match.QueryParams)) {
		at := path.Child("queryParams").Key(name)
		// envoy.config.route.v3.QueryParameterMatcher.name: 1 to 1024 bytes.
		if name == "" || len(name) > 1024 {
			c.invalid(at, "it is not the name of a query parameter", "give a name of 1 to 1024 bytes")
		}
		value := match.QueryParams[name]
		c.stringMatch(at, &value, false)
	}
	if match.Port != 0 {
		c.port(path.Child("port"), match.Port)
	}
	c.labels(path.Child("sourceLabels"), match.SourceLabels)
	if match.SourceNamespace != "" {
		if problems := validation.IsDNS1123Label(match.SourceNamespace); len(problems) > 0 {
			c.invalid(path.Child("sourceNamespace"), fmt.Sprintf("%q is not a namespace's name", match.SourceNamespace), "name one namespace, without wildcards")
		}
	}
	c.gateways(path.Child("gateways"), match.Gateways)
}

// stringMatch checks a comparison. Where none is set, required says whether that is a
// mistake or asks for presence.
func (c *checker) stringMatch(path *field.Path, match *v1alpha1.StringMatch, required bool) {
	ways := 0
	for _, set := range []bool{match.Exact != nil, match.Prefix != "", match.Regex != ""} {
		if set {
			ways++
		}
	}
	switch {
	case ways > 1:
		c.conflict(path, "it compares in several ways", "set only one of exact, prefix and regex")
	case ways == 0 && required:
		c.conflict(path, "it does not say how to compare", "set one of exact, prefix and regex")
	case match.Regex != "":
		c.regex(path.Child("regex"), match.Regex)
	}
}

// ownFields are names that requests carry as pseudo-headers, with the field of a match
// that compares them. Istio ignores them among headers; we never ignore.
var ownFields = map[string]string{
	"uri": "uri", ":path": "uri", "scheme": "scheme", ":scheme": "scheme",
	"method": "method", ":method": "method", "authority": "authority", ":authority": "authority",
}

func (c *checker) headerMatches(path *field.Path, matches map[string]v1alpha1.StringMatch) {
	for _, name := range slices.Sorted(maps.Keys(matches)) {
		at := path.Key(name)
		own, found := ownFields[strings.ToLower(name)]
		switch {
		case found:
			c.add(message.HeaderName(c.object, at.String(), fmt.Sprintf("%q is not matched among headers", name), "use match."+own))
		case strings.HasPrefix(name, "@request.auth."):
			c.notImplemented(at, "matching claims of tokens is", "remove it")
		default:
			c.headerName(at, name)
		}
		value := matches[name]
		c.stringMatch(at, &value, false)
	}
}
