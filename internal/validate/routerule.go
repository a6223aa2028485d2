package validate

import (
	"cmp"
	"fmt"
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// RouteRule returns what is wrong with the object, looked at alone; nothing means that
// package convert can use it.
func RouteRule(object *v1alpha1.RouteRule, options Options) []message.Finding {
	c := newChecker(kindRouteRule, object, object.Spec, options)
	spec, rule := field.NewPath("spec"), &object.Spec
	c.ruleService(spec.Child("destination"), &rule.Destination)
	if rule.Match != nil {
		c.ruleMatch(spec.Child("match"), rule.Match)
	}
	var weights []*int32
	for i := range rule.Route {
		at := spec.Child("route").Index(i)
		if rule.Route[i].Destination != nil {
			c.ruleService(at.Child("destination"), rule.Route[i].Destination)
		}
		c.labels(at.Child("labels"), rule.Route[i].Labels)
		weights = append(weights, rule.Route[i].Weight)
	}
	c.weights(spec.Child("route"), weights)
	if rule.Mirror != nil {
		c.ruleService(spec.Child("mirror"), rule.Mirror)
	}
	c.ruleActions(spec, rule)
	for i := range c.findings {
		// Shares were judged as a VirtualService has them.
		c.findings[i].Path = strings.Replace(c.findings[i].Path, ".percentage.value", ".percent", 1)
	}
	return message.Sort(c.findings)
}

func (c *checker) ruleService(path *field.Path, service *v1alpha1.RouteRuleService) {
	if (service.Name == "") == (service.Service == "") {
		c.conflict(path, "it does not name one service", "set exactly one of name and service")
		return
	}
	c.ruleNames(path, service.Name, service.Namespace, service.Domain, service.Service)
	c.labels(path.Child("labels"), service.Labels)
}

func (c *checker) ruleNames(path *field.Path, name, namespace, domain, service string) {
	if name != "" && len(validation.IsDNS1123Label(strings.ToLower(name))) > 0 {
		c.invalid(path.Child("name"), fmt.Sprintf("%q is not the short name of a service", name), "write a full name in service")
	}
	if namespace != "" && len(validation.IsDNS1123Label(namespace)) > 0 {
		c.invalid(path.Child("namespace"), fmt.Sprintf("%q is not a namespace's name", namespace), "name one namespace")
	}
	if domain != "" && !dnsName.MatchString(domain) {
		c.invalid(path.Child("domain"), fmt.Sprintf("%q is not a domain", domain), "write one such as svc.cluster.local, or remove it")
	}
	if service != "" {
		c.host(path.Child("service"), service)
	}
}

func (c *checker) ruleMatch(path *field.Path, match *v1alpha1.RouteRuleMatch) {
	if source := match.Source; source != nil {
		at := path.Child("source")
		if source.Name != "" && source.Service != "" {
			c.conflict(at, "name and service are both set", "set one of them")
		}
		c.ruleNames(at, source.Name, source.Namespace, source.Domain, source.Service)
		c.labels(at.Child("labels"), source.Labels)
	}
	if match.Request == nil {
		return
	}
	headers, at := maps.Clone(match.Request.Headers), path.Child("request", "headers")
	for _, name := range pseudoHeaders {
		if value, found := headers[name]; found {
			c.stringMatch(at.Key(name), &value, true)
			delete(headers, name)
		}
	}
	c.headerMatches(at, headers)
}

// ruleActions checks what becomes of requests.
func (c *checker) ruleActions(spec *field.Path, rule *v1alpha1.RouteRuleSpec) {
	route := HTTPRouteOf(rule, c.object.Namespace, c.options)
	if route.Redirect != nil {
		for _, other := range []struct {
			name string
			set  bool
		}{
			{"route", len(rule.Route) > 0}, {"rewrite", rule.Rewrite != nil}, {"httpReqTimeout", rule.HTTPReqTimeout != nil},
			{"httpReqRetries", rule.HTTPReqRetries != nil}, {"httpFault", rule.HTTPFault != nil}, {"l4Fault", rule.L4Fault != nil},
			{"mirror", rule.Mirror != nil}, {"corsPolicy", rule.CORSPolicy != nil}, {"appendHeaders", len(rule.AppendHeaders) > 0},
			{"websocketUpgrade", rule.WebsocketUpgrade != nil},
		} {
			if other.set {
				c.conflict(spec.Child(other.name), "it applies to requests that are forwarded", "remove it: a redirect forwards nothing")
			}
		}
		c.redirect(spec.Child("redirect"), route.Redirect)
	}
	if route.Rewrite != nil {
		c.rewrite(spec.Child("rewrite"), route.Rewrite)
	}
	if route.Timeout != nil {
		c.duration(spec.Child("httpReqTimeout", "simpleTimeout", "timeout"), *route.Timeout)
	}
	if route.Retries != nil {
		c.retries(spec.Child("httpReqRetries", "simpleRetry"), route.Retries)
	}
	if route.Fault != nil {
		c.fault(spec.Child("httpFault"), route.Fault)
	}
	if l4 := rule.L4Fault; l4 != nil {
		c.throttle(spec.Child("l4Fault"), l4)
	}
	if route.CORSPolicy != nil {
		c.cors(spec.Child("corsPolicy"), route.CORSPolicy)
	}
	c.headerValues(spec.Child("appendHeaders"), rule.AppendHeaders)
}

func (c *checker) throttle(path *field.Path, fault *v1alpha1.RouteRuleL4Fault) {
	if fault.Throttle == nil {
		if fault.Terminate == nil {
			c.conflict(path, "it does nothing", "set throttle")
		}
		return
	}
	path = path.Child("throttle")
	c.percent(path, percentOf(fault.Throttle.Percent))
	// envoy.extensions.filters.common.fault.v3.FaultRateLimit: at least 1 KiB per second.
	if fault.Throttle.DownstreamLimitBps < 8192 {
		c.invalid(path.Child("downstreamLimitBps"), fmt.Sprintf("%d is below 8192", fault.Throttle.DownstreamLimitBps), "set 8192 bits per second or more")
	}
}

// pseudoHeaders are the names by which a rule matches what is no header.
var pseudoHeaders = []string{"uri", "scheme", "method", "authority"}

// HTTPRouteOf returns the route of a VirtualService that says the same as a rule; what no
// VirtualService can say is left out.
func HTTPRouteOf(rule *v1alpha1.RouteRuleSpec, namespace string, options Options) *v1alpha1.HTTPRoute {
	host := func(service *v1alpha1.RouteRuleService) string { return RuleHost(service, namespace, options) }
	route := &v1alpha1.HTTPRoute{Match: matchOf(rule.Match), CORSPolicy: rule.CORSPolicy, Fault: faultOf(rule.HTTPFault)}
	for _, to := range rule.Route {
		destination := v1alpha1.Destination{Host: host(cmp.Or(to.Destination, &rule.Destination)), Labels: to.Labels}
		route.Route = append(route.Route, v1alpha1.HTTPRouteDestination{Destination: destination, Weight: to.Weight})
	}
	if redirect := rule.Redirect; redirect != nil {
		route.Redirect = &v1alpha1.HTTPRedirect{URI: redirect.URI, Authority: redirect.Authority}
	} else if len(route.Route) == 0 {
		route.Route = []v1alpha1.HTTPRouteDestination{{Destination: v1alpha1.Destination{Host: host(&rule.Destination)}}}
	}
	if rewrite := rule.Rewrite; rewrite != nil {
		route.Rewrite = &v1alpha1.HTTPRewrite{URI: rewrite.URI, Authority: rewrite.Authority}
	}
	if rule.HTTPReqTimeout != nil {
		route.Timeout = &rule.HTTPReqTimeout.SimpleTimeout.Timeout
	}
	if retries := rule.HTTPReqRetries; retries != nil {
		route.Retries = &v1alpha1.HTTPRetry{Attempts: &retries.SimpleRetry.Attempts, PerTryTimeout: retries.SimpleRetry.PerTryTimeout}
	}
	if rule.Mirror != nil {
		route.Mirror = &v1alpha1.Destination{Host: host(rule.Mirror), Labels: rule.Mirror.Labels}
	}
	if len(rule.AppendHeaders) > 0 {
		route.Headers = &v1alpha1.Headers{Request: &v1alpha1.HeaderOperations{Add: rule.AppendHeaders}}
	}
	return route
}

// RuleHost returns the host that a rule in the namespace means by a service.
func RuleHost(service *v1alpha1.RouteRuleService, namespace string, options Options) string {
	switch {
	case service.Service != "":
		return mesh.QualifiedHost(service.Service, namespace, options.ClusterDomain)
	case service.Domain != "":
		return strings.ToLower(service.Name + "." + cmp.Or(service.Namespace, namespace) + "." + service.Domain)
	}
	return mesh.ServiceHost(service.Name, cmp.Or(service.Namespace, namespace), options.ClusterDomain)
}

func matchOf(match *v1alpha1.RouteRuleMatch) []v1alpha1.HTTPMatchRequest {
	if match == nil {
		return nil
	}
	var to v1alpha1.HTTPMatchRequest
	if match.Request != nil {
		headers := maps.Clone(match.Request.Headers)
		for i, part := range []**v1alpha1.StringMatch{&to.URI, &to.Scheme, &to.Method, &to.Authority} {
			if value, found := headers[pseudoHeaders[i]]; found {
				*part = &value
				delete(headers, pseudoHeaders[i])
			}
		}
		to.Headers = headers
	}
	if match.Source != nil {
		to.SourceLabels, to.SourceNamespace = match.Source.Labels, match.Source.Namespace
	}
	return []v1alpha1.HTTPMatchRequest{to}
}

func faultOf(fault *v1alpha1.RouteRuleHTTPFault) *v1alpha1.HTTPFaultInjection {
	if fault == nil {
		return nil
	}
	to := &v1alpha1.HTTPFaultInjection{}
	if delay := fault.Delay; delay != nil {
		to.Delay = &v1alpha1.HTTPFaultDelay{Percentage: percentOf(delay.Percent), FixedDelay: delay.FixedDelay, ExponentialDelay: delay.ExponentialDelay}
	}
	if abort := fault.Abort; abort != nil {
		to.Abort = &v1alpha1.HTTPFaultAbort{
			Percentage: percentOf(abort.Percent), HTTPStatus: abort.HTTPStatus, GRPCStatus: abort.GRPCStatus, HTTP2Error: abort.HTTP2Error,
		}
	}
	return to
}

func percentOf(percent *v1alpha1.Double) *v1alpha1.Percent {
	if percent == nil {
		return nil
	}
	return &v1alpha1.Percent{Value: *percent}
}
