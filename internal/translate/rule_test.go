package translate_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/translate"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// Where the two kinds say the same, proxies get the same: but for the names of the routes, which
// say where they stand, and the last one, by which RouteRules leave the rest to the service.
func TestBothKindsGiveTheSameRoutes(t *testing.T) {
	for name, words := range map[string]struct{ route, rule string }{
		"match": {
			"match: [{uri: {prefix: /a}, scheme: {exact: http}, method: {regex: P.*}, authority: {prefix: r}, headers: {x-a: {exact: b}, x-c: {}}, sourceLabels: {app: front}, sourceNamespace: default}], route: [{destination: {host: reviews}}]",
			"match: {source: {namespace: default, labels: {app: front}}, request: {headers: {uri: {prefix: /a}, scheme: {exact: http}, method: {regex: P.*}, authority: {prefix: r}, X-A: {exact: b}, x-c: {}}}}",
		},
		"split": {
			"route: [{destination: {host: reviews, labels: {version: v1}}, weight: 3}, {destination: {host: ratings.default.svc.cluster.local}, weight: 1}]",
			"route: [{labels: {version: v1}, weight: 3}, {destination: {name: ratings}, weight: 1}]",
		},
		"redirect": {"redirect: {uri: /b, authority: shop.example}", "redirect: {uri: /b, authority: shop.example}"},
		"rewrite": {
			"match: [{uri: {prefix: /a}}], rewrite: {uri: /b, authority: shop.example}, route: [{destination: {host: reviews}}]",
			"match: {request: {headers: {uri: {prefix: /a}}}}, rewrite: {uri: /b, authority: shop.example}",
		},
		"timeout and retries": {
			"timeout: 10s, retries: {attempts: 3, perTryTimeout: 2s}, route: [{destination: {host: reviews}}]",
			"httpReqTimeout: {simpleTimeout: {timeout: 10s}}, httpReqRetries: {simpleRetry: {attempts: 3, perTryTimeout: 2s}}",
		},
		"faults": {
			"fault: {delay: {fixedDelay: 5s, percentage: {value: 10}}, abort: {httpStatus: 400}}, route: [{destination: {host: reviews}}]",
			"httpFault: {delay: {fixedDelay: 5s, percent: 10}, abort: {httpStatus: 400}}",
		},
		"mirror": {
			"mirror: {host: ratings, labels: {version: v2}}, route: [{destination: {host: reviews}}]",
			"mirror: {name: ratings, labels: {version: v2}}",
		},
		"cors": {
			"corsPolicy: {allowOrigin: ['*'], allowMethods: [GET], maxAge: 1h, allowCredentials: true}, route: [{destination: {host: reviews}}]",
			"corsPolicy: {allowOrigin: ['*'], allowMethods: [GET], maxAge: 1h, allowCredentials: true}",
		},
		"headers": {
			"headers: {request: {add: {x-more: a}}}, route: [{destination: {host: reviews}}]",
			"appendHeaders: {x-more: a}",
		},
		"websocket": {"route: [{destination: {host: reviews}}]", "websocketUpgrade: true"},
	} {
		t.Run(name, func(t *testing.T) {
			route := routesOfReviews(t, "VirtualService", "{hosts: [reviews], http: [{"+words.route+"}]}")
			rule := routesOfReviews(t, "RouteRule", "{destination: {name: reviews}, "+words.rule+"}")
			if len(route) != 1 || len(rule) != 2 || rule[1].Name != "default" {
				t.Fatalf("%d and %d routes", len(route), len(rule))
			}
			rule[0].Name = route[0].Name
			if diff := cmp.Diff(route[0], rule[0], protocmp.Transform()); diff != "" {
				t.Errorf("VirtualService (-) and RouteRule (+):\n%s", diff)
			}
		})
	}
}

// routesOfReviews returns the routes of a service by one object.
func routesOfReviews(t *testing.T, kind, spec string) []*routev3.Route {
	t.Helper()
	documents := [][]byte{
		[]byte("{kind: Pod, metadata: {name: front, namespace: default, labels: {app: front}, annotations: {mesh.fairlead.dev/mode: explicit}}, status: {podIP: 198.18.0.10}}"),
		[]byte("{kind: Service, metadata: {name: reviews, namespace: default}, spec: {clusterIP: 10.96.0.20, ports: [{name: http, port: 80}]}}"),
		[]byte("{kind: Service, metadata: {name: ratings, namespace: default}, spec: {clusterIP: 10.96.0.30, ports: [{name: http, port: 80}]}}"),
		[]byte("{kind: " + kind + ", metadata: {name: reviews, namespace: default}, spec: " + spec + "}"),
	}
	store, findings := meshOf(t, documents)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	class := translate.ClassOf(store, store.Workload(mesh.NamespacedName{Namespace: "default", Name: "front"}))
	resources, findings := translateAll(store, class, nil)
	for _, resource := range resources {
		if configuration, ok := resource.Message.(*routev3.RouteConfiguration); ok && resource.Name == "reviews.default.svc.cluster.local:80" {
			return configuration.VirtualHosts[0].Routes
		}
	}
	t.Fatalf("no routes; %v", findings)
	return nil
}
