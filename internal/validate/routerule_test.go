package validate_test

import (
	"slices"
	"testing"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/validate"
)

// Each goes beside a destination.
func TestRouteRules(t *testing.T) {
	for fields, want := range map[string][]string{
		``: nil,
		`precedence: -3, route: [{labels: {version: v1}, weight: 1}, {destination: {service: Shop.example.com}, weight: 0}]`: nil,
		`route: [{weight: 0}]`:  {"FL0004 spec.route"},
		`route: [{weight: -1}]`: {"FL0001 spec.route[0].weight"},
		`route: [{destination: {}}, {labels: {"a b": c}, weight: 1}]`: {"FL0007 spec.route[0].destination", "FL0001 spec.route[1].labels[a b]"},
		`route: [{destination: {name: ratings, labels: {a: b}}}]`:     {"FL0002 spec.route[0].destination.labels"},
		`mirror: {name: "a.b", namespace: "*", domain: "a b"}`:        {"FL0001 spec.mirror.domain", "FL0001 spec.mirror.name", "FL0001 spec.mirror.namespace"},
		`mirror: {service: "*.example.com"}`:                          {"FL0001 spec.mirror.service"},

		`match: {source: {name: front, namespace: prod, labels: {app: front}}}`: nil,
		`match: {source: {name: a, service: b}}`:                                {"FL0007 spec.match.source"},
		`match: {request: {headers: {uri: {regex: "("}, method: {}, "x a": {}, ":path": {exact: a}}}}`: {
			"FL0005 spec.match.request.headers[:path]", "FL0007 spec.match.request.headers[method]",
			"FL0003 spec.match.request.headers[uri].regex", "FL0005 spec.match.request.headers[x a]",
		},
		`match: {tcp: {sourceSubnet: [10.0.0.0/8]}, udp: {destinationSubnet: [a]}}`: {"FL0002 spec.match.tcp", "FL0002 spec.match.udp"},

		`redirect: {uri: a}`: {"FL0001 spec.redirect.uri"},
		`redirect: {uri: /a}, route: [{labels: {a: b}}], rewrite: {uri: /b}, websocketUpgrade: true, appendHeaders: {a: b}`: {
			"FL0007 spec.appendHeaders", "FL0007 spec.rewrite", "FL0007 spec.route", "FL0007 spec.websocketUpgrade",
		},
		`rewrite: {authority: "a b"}`: {"FL0001 spec.rewrite.authority"},
		`httpReqTimeout: {simpleTimeout: {timeout: 0s, overrideHeaderName: x}}`: {
			"FL0002 spec.httpReqTimeout.simpleTimeout.overrideHeaderName", "FL0001 spec.httpReqTimeout.simpleTimeout.timeout",
		},
		`httpReqRetries: {simpleRetry: {attempts: -1, perTryTimeout: x}}`: {"FL0001 spec.httpReqRetries.simpleRetry.attempts", "FL0001 spec.httpReqRetries.simpleRetry.perTryTimeout"},
		`httpFault: {delay: {percent: 101, fixedDelay: x}, abort: {}}`: {
			"FL0007 spec.httpFault.abort", "FL0001 spec.httpFault.delay.fixedDelay", "FL0001 spec.httpFault.delay.percent",
		},
		`httpFault: {delay: {exponentialDelay: 1s}}`: {"FL0002 spec.httpFault.delay.exponentialDelay"},
		`l4Fault: {}`: {"FL0007 spec.l4Fault"},
		`l4Fault: {terminate: {terminateAfterPeriod: 1s}}`: {"FL0002 spec.l4Fault.terminate"},
		`l4Fault: {throttle: {downstreamLimitBps: 8191}}`:  {"FL0001 spec.l4Fault.throttle.downstreamLimitBps"},
		`corsPolicy: {maxAge: 1ms}`:                        {"FL0001 spec.corsPolicy.maxAge"},
		`appendHeaders: {":path": a, x: "%"}`:              {"FL0005 spec.appendHeaders[:path]", "FL0006 spec.appendHeaders[x]"},
	} {
		t.Run(fields, func(t *testing.T) {
			object := &v1alpha1.RouteRule{}
			decode(t, "{metadata: {namespace: prod, name: reviews}, spec: {destination: {name: reviews}, "+fields+"}}", object)
			findings := validate.RouteRule(object, validate.Options{})
			if got := found(findings); !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", findings, want)
			}
		})
	}
}
