package validate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/message"
)

// VirtualService returns what is wrong with the object, looked at alone; nothing means
// that package convert can use it.
func VirtualService(object *v1alpha1.VirtualService, options Options) []message.Finding {
	c := newChecker(kindVirtualService, object, object.Spec, options)
	spec := field.NewPath("spec")
	c.hosts(spec.Child("hosts"), object.Spec.Hosts)
	c.gateways(spec.Child("gateways"), object.Spec.Gateways)
	c.exportTo(spec.Child("exportTo"), object.Spec.ExportTo)
	if len(object.Spec.HTTP)+len(object.Spec.TLS)+len(object.Spec.TCP) == 0 {
		c.invalid(spec, "there is no route", "set at least one route in http, tls or tcp")
	}
	isDelegate := len(object.Spec.Hosts) == 0
	if isDelegate && len(object.Spec.Gateways)+len(object.Spec.TLS)+len(object.Spec.TCP) > 0 {
		c.conflict(spec, "without hosts the object is a delegate, which has routes in http and nothing else", "set hosts, or remove gateways, tls and tcp")
	}
	for i, route := range object.Spec.HTTP {
		path := spec.Child("http").Index(i)
		c.httpRoute(path, &route)
		if isDelegate && route.Delegate != nil {
			c.conflict(path.Child("delegate"), "without hosts the object is a delegate itself, and one level only is followed", "put the routes here")
		}
	}
	for i := range object.Spec.TLS {
		c.tlsRoute(spec.Child("tls").Index(i), &object.Spec.TLS[i], object.Spec.Hosts)
	}
	for i := range object.Spec.TCP {
		c.tcpRoute(spec.Child("tcp").Index(i), &object.Spec.TCP[i])
	}
	return message.Sort(c.findings)
}

// hosts checks the hosts that an object routes.
func (c *checker) hosts(path *field.Path, hosts []string) {
	seen := map[string]string{}
	for i, host := range hosts {
		at := path.Index(i)
		if !c.routedHost(at, host) {
			continue
		}
		full := c.qualified(host)
		if first, found := seen[full]; found {
			c.add(message.Repeated(c.object, at.String(), fmt.Sprintf("%q", host), fmt.Sprintf("%q", first)))
			continue
		}
		seen[full] = host
	}
}

// gateways checks names of Gateways, and takes the word "mesh" for all sidecars.
func (c *checker) gateways(path *field.Path, gateways []string) {
	for i, gateway := range gateways {
		namespace, name, both := strings.Cut(gateway, "/")
		if !both {
			namespace, name = ".", gateway
		}
		if len(validation.IsDNS1123Subdomain(name)) > 0 || namespace != "." && len(validation.IsDNS1123Label(namespace)) > 0 {
			c.invalid(path.Index(i), fmt.Sprintf("%q is not the name of a Gateway", gateway), `write name or namespace/name, or "mesh" for all sidecars`)
		}
	}
}

func (c *checker) httpRoute(path *field.Path, route *v1alpha1.HTTPRoute) {
	c.oneAction(path, route)
	if route.Delegate != nil {
		c.delegate(path.Child("delegate"), route.Delegate)
	}
	for i := range route.Match {
		c.match(path.Child("match").Index(i), &route.Match[i])
	}
	c.destinations(path.Child("route"), route.Route)
	if route.Redirect != nil {
		c.redirect(path.Child("redirect"), route.Redirect)
		notPrefix := func(match v1alpha1.HTTPMatchRequest) bool { return match.URI == nil || match.URI.Prefix == "" }
		if route.Redirect.PrefixRewrite != "" && (len(route.Match) == 0 || slices.ContainsFunc(route.Match, notPrefix)) {
			c.conflict(path.Child("redirect", "prefixRewrite"), "it replaces a matched prefix", "give every match a uri.prefix, or use redirect.uri")
		}
	}
	if route.DirectResponse != nil {
		c.directResponse(path.Child("directResponse"), route.DirectResponse)
	}
	if route.Rewrite != nil {
		c.rewrite(path.Child("rewrite"), route.Rewrite)
	}
	if route.Timeout != nil {
		c.duration(path.Child("timeout"), *route.Timeout)
	}
	if route.Retries != nil {
		c.retries(path.Child("retries"), route.Retries)
	}
	if route.Fault != nil {
		c.fault(path.Child("fault"), route.Fault)
	}
	c.mirrors(path, route)
	if route.CORSPolicy != nil {
		c.cors(path.Child("corsPolicy"), route.CORSPolicy)
	}
	c.headers(path.Child("headers"), route.Headers)
}

// oneAction checks that the route says one thing to do, and nothing that needs another.
func (c *checker) oneAction(path *field.Path, route *v1alpha1.HTTPRoute) {
	actions := 0
	for _, set := range []bool{len(route.Route) > 0, route.Redirect != nil, route.DirectResponse != nil, route.Delegate != nil} {
		if set {
			actions++
		}
	}
	if actions != 1 {
		c.conflict(path, fmt.Sprintf("%d actions are set", actions), "set exactly one of route, redirect, directResponse and delegate")
		return
	}
	if len(route.Route) > 0 || route.Delegate != nil {
		return
	}
	const fix = "remove it: a redirect or a direct response forwards nothing"
	if route.Rewrite != nil {
		c.conflict(path.Child("rewrite"), "it applies to requests that are forwarded", fix)
	}
	if route.Timeout != nil {
		c.conflict(path.Child("timeout"), "it applies to requests that are forwarded", fix)
	}
	if route.Retries != nil {
		c.conflict(path.Child("retries"), "they apply to requests that are forwarded", fix)
	}
	if route.Fault != nil {
		c.conflict(path.Child("fault"), "it applies to requests that are forwarded", fix)
	}
	if route.CORSPolicy != nil {
		c.conflict(path.Child("corsPolicy"), "it applies to requests that are forwarded", fix)
	}
	if route.Mirror != nil || len(route.Mirrors) > 0 {
		c.conflict(path, "mirrors apply to requests that are forwarded", fix)
	}
	if route.Headers != nil && route.Headers.Request != nil {
		c.conflict(path.Child("headers", "request"), "it applies to requests that are forwarded", fix)
	}
}

// delegate checks the name of another object.
func (c *checker) delegate(path *field.Path, delegate *v1alpha1.Delegate) {
	if len(validation.IsDNS1123Subdomain(delegate.Name)) > 0 {
		c.invalid(path.Child("name"), fmt.Sprintf("%q is not the name of a VirtualService", delegate.Name), "name one without hosts")
	}
	if delegate.Namespace != "" && len(validation.IsDNS1123Label(delegate.Namespace)) > 0 {
		c.invalid(path.Child("namespace"), fmt.Sprintf("%q is not a namespace's name", delegate.Namespace), "name one namespace, or remove it")
	}
}

// destinations checks where a route leads, and the shares of it.
func (c *checker) destinations(path *field.Path, destinations []v1alpha1.HTTPRouteDestination) {
	var weights []*int32
	for i := range destinations {
		at := path.Index(i)
		c.destination(at.Child("destination"), &destinations[i].Destination)
		c.headers(at.Child("headers"), destinations[i].Headers)
		weights = append(weights, destinations[i].Weight)
	}
	c.weights(path, weights)
}

// weights checks the shares of a list of destinations, nil where one is not given.
func (c *checker) weights(path *field.Path, weights []*int32) {
	var sum uint64
	for i, weight := range weights {
		switch {
		case weight == nil:
			if len(weights) == 1 {
				sum++ // alone, it gets everything
			}
		case *weight < 0:
			c.invalid(path.Index(i).Child("weight"), fmt.Sprintf("%d is below zero", *weight), "set a weight of 0 or more")
			return
		default:
			sum += uint64(*weight)
		}
	}
	switch {
	case len(weights) == 0:
	case sum == 0:
		c.add(message.WeightsZero(c.object, path.String()))
	case sum > math.MaxUint32:
		// envoy.config.route.v3.WeightedCluster: the sum must not exceed uint32's maximum.
		c.add(message.WeightsTooLarge(c.object, path.String(), sum))
	}
}

func (c *checker) destination(path *field.Path, destination *v1alpha1.Destination) {
	c.host(path.Child("host"), destination.Host)
	if destination.Subset != "" {
		c.subsetName(path.Child("subset"), destination.Subset)
		if destination.Labels != nil {
			c.conflict(path, "subset and labels are both set", "set one of them: a subset has its labels in a DestinationRule")
		}
	}
	c.labels(path.Child("labels"), destination.Labels)
	if destination.Labels != nil && len(destination.Labels) == 0 {
		c.invalid(path.Child("labels"), "no label is given", "give at least one, or remove labels to send to all Pods")
	}
	if destination.Port != nil {
		c.port(path.Child("port", "number"), destination.Port.Number)
	}
}
