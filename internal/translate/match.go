package translate

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
)

// routeMatch builds the conditions on a request. Port and caller are not among them:
// they are decided when the routes of a port are chosen.
func routeMatch(match *mesh.HTTPMatch) *routev3.RouteMatch {
	built := &routev3.RouteMatch{}
	switch uri := match.URI; {
	case uri == nil:
		built.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: "/"}
	case uri.Kind == mesh.Exact:
		built.PathSpecifier = &routev3.RouteMatch_Path{Path: uri.Value}
	case uri.Kind == mesh.Prefix:
		built.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: uri.Value}
	default:
		built.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: regex(uri.Value)}
	}
	if match.IgnoreURICase {
		built.CaseSensitive = wrapperspb.Bool(false)
	}
	for _, pseudo := range []struct {
		name  string
		value *mesh.StringMatch
	}{{":scheme", match.Scheme}, {":method", match.Method}, {":authority", match.Authority}} {
		if pseudo.value != nil {
			built.Headers = append(built.Headers, headerMatch(mesh.NamedMatch{Name: pseudo.name, Value: pseudo.value}))
		}
	}
	for _, header := range match.Headers {
		built.Headers = append(built.Headers, headerMatch(header))
	}
	for _, header := range match.WithoutHeaders {
		built.Headers = append(built.Headers, withoutHeader(header))
	}
	for _, parameter := range match.QueryParams {
		built.QueryParameters = append(built.QueryParameters, queryMatch(parameter))
	}
	return built
}

func headerMatch(match mesh.NamedMatch) *routev3.HeaderMatcher {
	built := &routev3.HeaderMatcher{Name: match.Name}
	if match.Value == nil {
		built.HeaderMatchSpecifier = &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}
	} else {
		built.HeaderMatchSpecifier = &routev3.HeaderMatcher_StringMatch{StringMatch: stringMatch(*match.Value)}
	}
	return built
}

// withoutHeader accepts requests whose header does not match, or that do not have it. For
// that Envoy takes an absent header for an empty one, as Istio has it do; an expression
// that every value matches asks for absence.
func withoutHeader(match mesh.NamedMatch) *routev3.HeaderMatcher {
	if match.Value != nil && *match.Value == (mesh.StringMatch{Kind: mesh.Regex, Value: ".*"}) {
		match.Value = nil
	}
	built := headerMatch(match)
	built.InvertMatch = true
	built.TreatMissingHeaderAsEmpty = match.Value != nil
	return built
}

func queryMatch(match mesh.NamedMatch) *routev3.QueryParameterMatcher {
	built := &routev3.QueryParameterMatcher{Name: match.Name}
	if match.Value == nil {
		built.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_PresentMatch{PresentMatch: true}
	} else {
		built.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_StringMatch{StringMatch: stringMatch(*match.Value)}
	}
	return built
}

func stringMatch(match mesh.StringMatch) *matcherv3.StringMatcher {
	built := &matcherv3.StringMatcher{}
	switch match.Kind {
	case mesh.Exact:
		built.MatchPattern = &matcherv3.StringMatcher_Exact{Exact: match.Value}
	case mesh.Prefix:
		built.MatchPattern = &matcherv3.StringMatcher_Prefix{Prefix: match.Value}
	default:
		built.MatchPattern = &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex(match.Value)}
	}
	return built
}

// regex is RE2, and matches the whole value.
func regex(expression string) *matcherv3.RegexMatcher {
	return &matcherv3.RegexMatcher{Regex: expression}
}
