package convert_test

import (
	"net/netip"
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

var routeRuleLeaves = leafTest{
	kind: convert.KindRouteRule,
	base: `{destination: {name: reviews}}`,
	bases: map[string]string{
		"spec.destination.service":         `{destination: {}}`,
		"spec.destination.labels":          `{destination: {name: reviews}, route: [{labels: {key: text}}]}`,
		"spec.route[].destination":         `{destination: {name: reviews}, route: [{destination: {name: reviews}}]}`,
		"spec.route[].destination.service": `{destination: {name: reviews}, route: [{destination: {}}]}`,
		"spec.route[].weight":              `{destination: {name: reviews}, route: [{labels: {key: text}}, {labels: {key: word}, weight: 1}]}`,
		"spec.mirror":                      `{destination: {name: reviews}, mirror: {name: reviews}}`,
		"spec.mirror.service":              `{destination: {name: reviews}, mirror: {}}`,
		"spec.match.source.namespace":      `{destination: {name: reviews}, match: {source: {labels: {key: text}}}}`,
		"spec.match.source.domain":         `{destination: {name: reviews}, match: {source: {name: reviews}}}`,
		"spec.match.request.headers{}":     `{destination: {name: reviews}, match: {request: {headers: {key: {}}}}}`,
		"spec.redirect.authority":          `{destination: {name: reviews}, redirect: {uri: /a}}`,
		"spec.httpReqTimeout":              `{destination: {name: reviews}, httpReqTimeout: {simpleTimeout: {timeout: 1s}}}`,
		"spec.httpReqRetries":              `{destination: {name: reviews}, httpReqRetries: {simpleRetry: {attempts: 3}}}`,
		"spec.httpFault.delay":             `{destination: {name: reviews}, httpFault: {delay: {fixedDelay: 1s}}}`,
		"spec.httpFault.abort":             `{destination: {name: reviews}, httpFault: {abort: {httpStatus: 500}}}`,
		"spec.httpFault.abort.grpcStatus":  `{destination: {name: reviews}, httpFault: {abort: {}}}`,
		"spec.l4Fault.throttle":            `{destination: {name: reviews}, l4Fault: {throttle: {downstreamLimitBps: 8192}}}`,
	},
	samples: map[string][2]any{
		"spec.precedence":                          {7, 3},
		"spec.destination.namespace":               {"default", "prod"},
		"spec.destination.domain":                  {"svc.cluster.local", "text"},
		"spec.destination.service":                 {"reviews", "text"},
		"spec.destination.name":                    {"reviews", "text"},
		"spec.route[].destination.namespace":       {"default", "prod"},
		"spec.match.source.namespace":              {"default", "prod"},
		"spec.match.source.name":                   {"reviews", "text"},
		"spec.match.source.service":                {"reviews", "text"},
		"spec.match.source.domain":                 {"svc.cluster.local", "text"},
		"spec.redirect.uri":                        {"/a", "/b"},
		"spec.rewrite.uri":                         {"/a", "/b"},
		"spec.httpFault.abort.grpcStatus":          {"UNAVAILABLE", "5"},
		"spec.httpFault.abort.httpStatus":          {404, 410},
		"spec.l4Fault.throttle.downstreamLimitBps": {8192, 16384},
		"spec.corsPolicy.unmatchedPreflights":      {"FORWARD", "IGNORE"},
	},
	add: func(store *mesh.Store, spec []byte) ([]message.Finding, error) {
		// Another rule, so that precedence tells.
		other := &v1alpha1.RouteRule{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "other"}}
		other.Spec.Destination.Name, other.Spec.Precedence = "reviews", 5
		other.Spec.Match = &v1alpha1.RouteRuleMatch{Request: &v1alpha1.RouteRuleRequest{Headers: map[string]v1alpha1.StringMatch{"other": {}}}}
		table, _ := convert.RouteRule(other, convert.Options{})
		store.SetRouteTable(table)
		// The caller is behind a service, too.
		store.SetEndpoints(table.Hosts[0], "caller", []mesh.Endpoint{
			{Address: netip.MustParseAddr("198.18.0.1"), PortName: "80", Port: 8080, Ready: true, Workload: mesh.NamespacedName{Namespace: "default", Name: "caller"}},
		})
		object := &v1alpha1.RouteRule{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "leaf"}}
		err := yaml.UnmarshalStrict(spec, &object.Spec)
		table, findings := convert.RouteRule(object, convert.Options{})
		if table != nil {
			store.SetRouteTable(table)
		}
		return findings, err
	},
}

func TestEveryFieldOfRouteRuleActsOrIsRefused(t *testing.T) {
	routeRuleLeaves.run(t, reflect.TypeFor[v1alpha1.RouteRuleSpec](), 50)
}
