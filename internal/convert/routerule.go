package convert

import (
	"cmp"
	"fmt"
	"maps"
	"strings"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/validate"
)

// RouteRule returns what the object says about routing, and what is wrong with it. There is
// no table where a finding of topic Acceptance is among them. What a VirtualService can say,
// too, is converted as that is, so that the same gives the same.
func RouteRule(object *v1alpha1.RouteRule, options Options) (*mesh.RouteTable, []message.Finding) {
	findings := validate.RouteRule(object, options)
	if refused(findings) {
		return nil, findings
	}
	rule := &object.Spec
	c := names{namespace: object.Namespace, domain: options.ClusterDomain}
	route := c.route("spec", validate.HTTPRouteOf(rule, object.Namespace, options))
	route.Origin = origin(KindRouteRule, object)
	for i := range route.Matches {
		route.Matches[i].Path = "spec.match"
	}
	for i := range route.Destinations {
		route.Destinations[i].Path = "spec.destination"
		if len(rule.Route) > 0 && rule.Route[i].Destination != nil {
			route.Destinations[i].Path = fmt.Sprintf("spec.route[%d].destination", i)
		}
	}
	if rule.Match != nil && rule.Match.Source != nil {
		addSource(&route.Matches[0], rule.Match.Source, object.Namespace, options)
	}
	route.NoUpgrade = !orElse(rule.WebsocketUpgrade, true)
	if rule.L4Fault != nil {
		route.Fault = cmp.Or(route.Fault, &mesh.Fault{})
		throttle := rule.L4Fault.Throttle
		route.Fault.Throttle = &mesh.FaultThrottle{
			Percent: float64(orElse(throttle.Percent, 100)), KiBytesPerSecond: uint64(throttle.DownstreamLimitBps / 8 / 1024),
		}
	}
	return &mesh.RouteTable{
		Origin:     route.Origin,
		Hosts:      []string{validate.RuleHost(&rule.Destination, object.Namespace, options)},
		Rule:       true,
		Precedence: rule.Precedence,
		HTTP:       []mesh.HTTPRoute{route},
	}, findings
}

// addSource has a match ask for callers behind a service.
func addSource(match *mesh.HTTPMatch, source *v1alpha1.RouteRuleSource, namespace string, options Options) {
	if source.Name == "" && source.Service == "" {
		return
	}
	host := validate.RuleHost(&v1alpha1.RouteRuleService{
		Name: source.Name, Namespace: source.Namespace, Domain: source.Domain, Service: source.Service,
	}, namespace, options)
	labels := maps.Clone(match.SourceLabels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[mesh.SourceService(strings.ToLower(host))] = ""
	match.SourceLabels = labels
}
