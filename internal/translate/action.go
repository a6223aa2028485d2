package translate

import (
	"net/http"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// noTimeout lets an answer take as long as it takes; Envoy's own default is 15 s.
var noTimeout = durationpb.New(0)

// routeAction is what becomes of the requests that a route takes, whichever of its
// matches took them. Exactly one field is set.
type routeAction struct {
	forward  *routev3.RouteAction
	rewrite  *mesh.Rewrite
	redirect *routev3.RedirectAction
	respond  *routev3.DirectResponseAction
}

// action builds what a route does.
func (p *portRoutes) action(route *mesh.HTTPRoute) routeAction {
	switch {
	case route.Redirect != nil:
		return routeAction{redirect: redirect(route.Redirect, p.port)}
	case route.DirectResponse != nil:
		p.largestBody = max(p.largestBody, len(route.DirectResponse.Body))
		return routeAction{respond: directResponse(route.DirectResponse)}
	}
	if route.Problem == mesh.DelegateMissing {
		p.find(message.DelegateNotFound(p.object, route.Path+".delegate", *route.Delegate))
	}
	forward := p.forward(route)
	if forward == nil {
		return routeAction{respond: &routev3.DirectResponseAction{Status: http.StatusServiceUnavailable}}
	}
	return routeAction{forward: forward, rewrite: route.Rewrite}
}

// apply puts the action into a route; how the path is rewritten depends on its match.
func (a routeAction) apply(route *routev3.Route, match *mesh.HTTPMatch) {
	switch {
	case a.redirect != nil:
		route.Action = &routev3.Route_Redirect{Redirect: a.redirect}
	case a.respond != nil:
		route.Action = &routev3.Route_DirectResponse{DirectResponse: a.respond}
	default:
		forward := a.forward
		if a.rewrite != nil {
			forward = proto.CloneOf(forward)
			applyRewrite(forward, a.rewrite, match)
		}
		route.Action = &routev3.Route_Route{Route: forward}
	}
}

// forward shares requests out among the destinations that have a weight. With none there
// is nothing to forward to.
func (p *portRoutes) forward(route *mesh.HTTPRoute) *routev3.RouteAction {
	action := &routev3.RouteAction{
		Timeout:               durationpb.New(route.Timeout),
		RetryPolicy:           retryPolicy(route.Retries),
		RequestMirrorPolicies: p.mirrors(route.Mirrors),
	}
	if route.NoUpgrade {
		action.UpgradeConfigs = []*routev3.RouteAction_UpgradeConfig{{UpgradeType: webSocket, Enabled: wrapperspb.Bool(false)}}
	}
	var shares []*routev3.WeightedCluster_ClusterWeight
	for i := range route.Destinations {
		destination := &route.Destinations[i]
		cluster := p.resolve(destination)
		if destination.Weight == 0 && len(route.Destinations) > 1 {
			continue
		}
		shares = append(shares, share(cluster, destination))
		p.hash(action, destination)
	}
	if authority := newAuthority(route); authority != "" && !eachItsHost(shares, authority) {
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: authority}
	}
	switch {
	case len(shares) == 0:
		return nil
	case len(shares) == 1 && !changesHeaders(shares[0]):
		action.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: shares[0].GetName()}
	default:
		action.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{
			WeightedClusters: &routev3.WeightedCluster{Clusters: shares},
		}
	}
	return action
}

// newAuthority is the host that requests are forwarded with; empty leaves theirs.
func newAuthority(route *mesh.HTTPRoute) string {
	if route.Headers.Authority == "" && route.Rewrite != nil {
		return route.Rewrite.Authority
	}
	return route.Headers.Authority
}

// eachItsHost gives the route's host to those destinations that have none of their own, if any
// has: Envoy has the route's overrule theirs.
func eachItsHost(shares []*routev3.WeightedCluster_ClusterWeight, authority string) bool {
	if !slices.ContainsFunc(shares, func(s *routev3.WeightedCluster_ClusterWeight) bool { return s.HostRewriteSpecifier != nil }) {
		return false
	}
	for _, share := range shares {
		if share.HostRewriteSpecifier == nil {
			share.HostRewriteSpecifier = &routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: authority}
		}
	}
	return true
}

// applyRewrite changes the path. Envoy's prefix_rewrite replaces what the
// match accepted: the prefix, or the whole path where that was matched exactly or by a
// regular expression. Where the match said nothing of the path, the whole is replaced
// too.
func applyRewrite(action *routev3.RouteAction, rewrite *mesh.Rewrite, match *mesh.HTTPMatch) {
	switch {
	case rewrite.URIRegex != nil:
		action.RegexRewrite = &matcherv3.RegexMatchAndSubstitute{
			Pattern:      regex(rewrite.URIRegex.Match),
			Substitution: rewrite.URIRegex.Substitution,
		}
	case rewrite.URI != "" && match.URI == nil:
		action.RegexRewrite = &matcherv3.RegexMatchAndSubstitute{
			Pattern:      regex("^.*$"),
			Substitution: strings.ReplaceAll(rewrite.URI, `\`, `\\`),
		}
	case rewrite.URI != "":
		action.PrefixRewrite = rewrite.URI
	}
}

var redirectCodes = map[uint32]routev3.RedirectAction_RedirectResponseCode{
	http.StatusMovedPermanently:  routev3.RedirectAction_MOVED_PERMANENTLY,
	http.StatusFound:             routev3.RedirectAction_FOUND,
	http.StatusSeeOther:          routev3.RedirectAction_SEE_OTHER,
	http.StatusTemporaryRedirect: routev3.RedirectAction_TEMPORARY_REDIRECT,
	http.StatusPermanentRedirect: routev3.RedirectAction_PERMANENT_REDIRECT,
}

// redirect builds the answer that sends a client elsewhere. Envoy leaves out the port of
// a host that it was given, and keeps it in the one that the client called.
func redirect(r *mesh.Redirect, called uint16) *routev3.RedirectAction {
	action := &routev3.RedirectAction{
		HostRedirect: r.Authority,
		ResponseCode: redirectCodes[r.Code],
		PortRedirect: uint32(r.Port),
	}
	if r.URI != "" {
		action.PathRewriteSpecifier = &routev3.RedirectAction_PathRedirect{PathRedirect: r.URI}
	}
	if r.PrefixRewrite != "" {
		action.PathRewriteSpecifier = &routev3.RedirectAction_PrefixRewrite{PrefixRewrite: r.PrefixRewrite}
	}
	if r.Scheme != "" {
		action.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: r.Scheme}
	}
	switch {
	case r.Port != 0:
	case r.PortFromRequest && r.Authority != "":
		action.PortRedirect = uint32(called)
	case r.PortFromProtocol && r.Authority == "" && r.Scheme == "https":
		action.PortRedirect = 443
	case r.PortFromProtocol && r.Authority == "":
		action.PortRedirect = defaultHTTPPort
	}
	return action
}

func directResponse(r *mesh.DirectResponse) *routev3.DirectResponseAction {
	action := &routev3.DirectResponseAction{Status: r.Status}
	if len(r.Body) > 0 {
		action.Body = &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: slices.Clone(r.Body)}}
	}
	return action
}
