package convert

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/validate"
)

// RouteTable returns what the object says about routing, and what is wrong with it. There
// is no table where a finding of topic Acceptance is among them.
func RouteTable(object *v1alpha1.VirtualService, options Options) (*mesh.RouteTable, []message.Finding) {
	findings := validate.VirtualService(object, options)
	if refused(findings) {
		return nil, findings
	}
	c := names{namespace: object.Namespace, domain: options.ClusterDomain}
	table := &mesh.RouteTable{
		Origin:   origin(KindVirtualService, object),
		ExportTo: exportTo(object.Spec.ExportTo, object.Namespace),
	}
	for _, host := range object.Spec.Hosts {
		table.Hosts = append(table.Hosts, c.qualified(host))
	}
	table.Gateways = c.gateways(object.Spec.Gateways)
	for i := range object.Spec.TLS {
		table.TLS = append(table.TLS, c.tlsRoute(fmt.Sprintf("spec.tls[%d]", i), &object.Spec.TLS[i]))
	}
	for i := range object.Spec.TCP {
		table.TCP = append(table.TCP, c.tcpRoute(fmt.Sprintf("spec.tcp[%d]", i), &object.Spec.TCP[i]))
	}
	for i := range object.Spec.HTTP {
		table.HTTP = append(table.HTTP, c.route(fmt.Sprintf("spec.http[%d]", i), &object.Spec.HTTP[i]))
	}
	for _, u := range table.Unreachable() {
		findings = append(findings, message.Unreachable(table.Origin.ObjectID,
			table.HTTP[u.Route].PathOf(u.Match), table.HTTP[u.By].PathOf(u.ByMatch)))
	}
	return table, findings
}

// names completes the hosts that an object names.
type names struct{ namespace, domain string }

func (c names) qualified(host string) string { return mesh.QualifiedHost(host, c.namespace, c.domain) }

func (c names) route(path string, from *v1alpha1.HTTPRoute) mesh.HTTPRoute {
	route := mesh.HTTPRoute{
		Name:           from.Name,
		Path:           path,
		Redirect:       redirect(from.Redirect),
		DirectResponse: directResponse(from.DirectResponse),
		Rewrite:        rewrite(from.Rewrite),
		Timeout:        duration(from.Timeout),
		Retries:        retries(from.Retries),
		Fault:          fault(from.Fault),
		Mirrors:        c.mirrors(path, from),
		CORS:           cors(from.CORSPolicy),
		Headers:        headers(from.Headers),
	}
	if delegate := from.Delegate; delegate != nil {
		route.Delegate = &mesh.NamespacedName{Namespace: cmp.Or(delegate.Namespace, c.namespace), Name: delegate.Name}
	}
	for i := range from.Match {
		route.Matches = append(route.Matches, c.match(fmt.Sprintf("%s.match[%d]", path, i), &from.Match[i]))
	}
	for i := range from.Route {
		destination := c.destination(fmt.Sprintf("%s.route[%d].destination", path, i), &from.Route[i].Destination)
		destination.Headers = headers(from.Route[i].Headers)
		destination.Weight = weight(from.Route[i].Weight, len(from.Route))
		route.Destinations = append(route.Destinations, destination)
	}
	return route
}

// weight is the share of a destination among several.
func weight(given *int32, among int) uint32 {
	switch {
	case given != nil:
		return uint32(*given)
	case among == 1:
		return 1 // alone, it gets everything
	}
	return 0
}

func (c names) destination(path string, from *v1alpha1.Destination) mesh.Destination {
	destination := mesh.Destination{
		Path:   path,
		Host:   c.qualified(from.Host),
		Subset: from.Subset,
		Labels: from.Labels,
	}
	if from.Port != nil {
		destination.Port = uint16(from.Port.Number)
	}
	return destination
}

func redirect(from *v1alpha1.HTTPRedirect) *mesh.Redirect {
	if from == nil {
		return nil
	}
	to := &mesh.Redirect{
		URI:              from.URI,
		PrefixRewrite:    from.PrefixRewrite,
		Authority:        from.Authority,
		Scheme:           from.Scheme,
		Port:             uint16(from.Port),
		PortFromProtocol: from.DerivePort == v1alpha1.FromProtocolDefault,
		PortFromRequest:  from.DerivePort == v1alpha1.FromRequestPort,
		Code:             301,
	}
	if from.RedirectCode != 0 {
		to.Code = uint32(from.RedirectCode)
	}
	return to
}

func directResponse(from *v1alpha1.HTTPDirectResponse) *mesh.DirectResponse {
	if from == nil {
		return nil
	}
	to := &mesh.DirectResponse{Status: uint32(from.Status)}
	switch body := from.Body; {
	case body == nil:
	case body.String != nil:
		to.Body = []byte(*body.String)
	default:
		to.Body = body.Bytes
	}
	return to
}

func rewrite(from *v1alpha1.HTTPRewrite) *mesh.Rewrite {
	if from == nil {
		return nil
	}
	to := &mesh.Rewrite{URI: from.URI, Authority: from.Authority}
	if from.URIRegexRewrite != nil {
		to.URIRegex = &mesh.RegexRewrite{Match: from.URIRegexRewrite.Match, Substitution: from.URIRegexRewrite.Rewrite}
	}
	return to
}

// defaultAttempts is how often a request is tried again by a policy that does not say.
const defaultAttempts = 2

func retries(from *v1alpha1.HTTPRetry) *mesh.Retries {
	if from == nil {
		return nil
	}
	to := &mesh.Retries{
		Attempts:            defaultAttempts,
		PerTry:              duration(from.PerTryTimeout),
		On:                  strings.ReplaceAll(from.RetryOn, " ", ""),
		RemoteLocalities:    orElse(from.RetryRemoteLocalities, false),
		Backoff:             duration(from.Backoff),
		IgnorePreviousHosts: from.RetryIgnorePreviousHosts,
	}
	if from.Attempts != nil {
		to.Attempts = uint32(*from.Attempts)
	}
	return to
}

// duration returns a duration that was found valid, zero for none.
func duration(from *v1alpha1.Duration) time.Duration {
	if from == nil {
		return 0
	}
	to, err := from.Parse()
	if err != nil {
		return 0 // not reached: validate refuses it
	}
	return to
}
