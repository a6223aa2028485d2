package validate_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/validate"
	"fairlead.dev/fairlead/test/testenv"
)

// What these rules say must be what the real Envoy says of the same values.
func TestRulesAgreeWithEnvoy(t *testing.T) {
	for rule, test := range map[string]struct {
		values []string
		// route is one of ours with the value in it, envoy the same in Envoy's words.
		route func(value string) v1alpha1.HTTPRoute
		envoy func(value string) map[string]any
	}{
		"expressions": {
			values: []string{
				`/a.*`, `(?i)/a`, `(?P<n>a)`, `(?<n>a)`, `\Qa.b\E`, `\pN`, `\p{Greek}`, `[[:word:]]`, `\z`, `日`, `\x{FF}`, `\\x{fff}`,
				`(a`, `a**`, `\Z`, `\8`, `a{1001}`, `a{2,1}`, `\`, `a(?=b)`, `\x{100}`, `[b-a]`, `(?P<n>a)(?P<n>b)`,
			},
			route: func(value string) v1alpha1.HTTPRoute {
				return v1alpha1.HTTPRoute{Match: []v1alpha1.HTTPMatchRequest{{URI: &v1alpha1.StringMatch{Regex: value}}}}
			},
			envoy: func(value string) map[string]any {
				return map[string]any{"match": map[string]any{"safe_regex": map[string]any{"regex": value}}}
			},
		},
		"header values": {
			values: []string{
				``, `a b`, "a\tb", `é`, `%%`, `100%%`, `%DOWNSTREAM_REMOTE_ADDRESS%`, `%REQ(x-a)%`, `%REQ(x-a?:path):20%`, `%START_TIME(%s.%3f)%`, `a%PROTOCOL%b`,
				`100%`, `%`, `%lower%`, `a%20b`, `%REQ(x-a)`, `%PROTOCOL%%`, `%REQ(a)b)%`, `%REQ(a):x%`, "a\nb", "a\rb", "a\x00b",
			},
			route: func(value string) v1alpha1.HTTPRoute {
				return v1alpha1.HTTPRoute{Headers: &v1alpha1.Headers{Request: &v1alpha1.HeaderOperations{Set: map[string]string{"x-new": value}}}}
			},
			envoy: func(value string) map[string]any {
				return map[string]any{"request_headers_to_add": []any{map[string]any{
					"header": map[string]any{"key": "x-new", "value": value}, "keep_empty_value": true,
				}}}
			},
		},
		"names of headers to change": {
			values: []string{`x-a`, `X-A`, `content-length`, `x_a`, `host`, `Host`, `:path`, `:authority`, ``},
			route: func(value string) v1alpha1.HTTPRoute {
				return v1alpha1.HTTPRoute{Headers: &v1alpha1.Headers{Response: &v1alpha1.HeaderOperations{Set: map[string]string{value: "a"}}}}
			},
			envoy: func(value string) map[string]any {
				return map[string]any{"response_headers_to_add": []any{map[string]any{"header": map[string]any{"key": value, "value": "a"}}}}
			},
		},
		"timeouts": {
			values: []string{`1s`, `9223372035s`, `9223372036s`},
			route: func(value string) v1alpha1.HTTPRoute {
				return v1alpha1.HTTPRoute{Timeout: new(v1alpha1.Duration(value))}
			},
			envoy: func(value string) map[string]any {
				return map[string]any{"route": map[string]any{"cluster": "c", "timeout": value}}
			},
		},
	} {
		t.Run(rule, func(t *testing.T) {
			for _, value := range test.values {
				route := test.route(value)
				route.Route = []v1alpha1.HTTPRouteDestination{{Destination: v1alpha1.Destination{Host: "reviews"}}}
				object := &v1alpha1.VirtualService{Spec: v1alpha1.VirtualServiceSpec{Hosts: []string{"reviews"}, HTTP: []v1alpha1.HTTPRoute{route}}}
				ours := validate.VirtualService(object, validate.Options{})
				envoys := testenv.ValidateEnvoy(t.Context(), bootstrap(t, test.envoy(value)))
				if (len(ours) == 0) != (envoys == nil) {
					t.Errorf("%q: we find %v, Envoy %v", value, ours, envoys)
				}
			}
		})
	}
}

// bootstrap is a configuration with one listener and this route in it.
func bootstrap(t *testing.T, route map[string]any) []byte {
	t.Helper()
	if route["match"] == nil {
		route["match"] = map[string]any{"prefix": "/"}
	}
	if route["route"] == nil {
		route["route"] = map[string]any{"cluster": "c"}
	}
	text, err := json.Marshal(route)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `
static_resources:
  clusters: [{name: c}]
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: l
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config: {virtual_hosts: [{name: v, domains: ["*"], routes: [%s]}]}
`, text)
}
