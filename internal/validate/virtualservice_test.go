package validate_test

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/validate"
)

// found lists findings as "code path".
func found(findings []message.Finding) []string {
	var lines []string
	for _, finding := range findings {
		lines = append(lines, finding.Code+" "+finding.Path)
	}
	return lines
}

func decode(t *testing.T, text string, object any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
}

// judge compares what is found in an object with what is wanted.
func judge(t *testing.T, spec string, want ...string) {
	t.Helper()
	object := &v1alpha1.VirtualService{}
	decode(t, "{metadata: {namespace: prod, name: reviews}, spec: "+spec+"}", object)
	findings := validate.VirtualService(object, validate.Options{})
	if got := found(findings); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v\nfor %s", findings, want, spec)
	}
	for _, finding := range findings {
		if finding.Object.String() != "VirtualService prod/reviews" || finding.Text == "" || finding.Fix == "" || finding.Topic != message.Acceptance {
			t.Errorf("incomplete: %+v", finding)
		}
	}
}

const toReviews = `route: [{destination: {host: reviews}}]`

func TestHosts(t *testing.T) {
	for hosts, want := range map[string][]string{
		`[reviews, reviews.prod, Shop.example.com]`:  nil,
		`["*", "*.example.com", "*-eu.example.com"]`: nil,
		`["*.", "a.*", "**"]`:                        {"FL0001 spec.hosts[0]", "FL0001 spec.hosts[1]", "FL0001 spec.hosts[2]"},
		`[192.0.2.7, "2001:db8::7"]`:                 {"FL0002 spec.hosts[0]", "FL0002 spec.hosts[1]"},
		`[]`:                                         nil,
		`["a b", "http://a", "a:80"]`:                {"FL0001 spec.hosts[0]", "FL0001 spec.hosts[1]", "FL0001 spec.hosts[2]"},
		`[""]`:                                       {"FL0001 spec.hosts[0]"},
		`[reviews, b, reviews]`:                      {"FL0008 spec.hosts[2]"},
		`[reviews, Reviews]`:                         {"FL0008 spec.hosts[1]"},
		`[reviews, reviews.prod.svc.cluster.local]`:  {"FL0008 spec.hosts[1]"},
		`[reviews, reviews.other.svc.cluster.local]`: nil,
		`[` + strings.Repeat("a", 254) + `]`:         {"FL0001 spec.hosts[0]"},
	} {
		t.Run(hosts, func(t *testing.T) {
			judge(t, `{hosts: `+hosts+`, http: [{`+toReviews+`}]}`, want...)
		})
	}
}

func TestClusterDomainCompletesHosts(t *testing.T) {
	object := &v1alpha1.VirtualService{}
	decode(t, `{metadata: {namespace: prod}, spec: {hosts: [a, a.prod.svc.example.org], http: [{`+toReviews+`}]}}`, object)
	if got := found(validate.VirtualService(object, validate.Options{ClusterDomain: "example.org"})); !slices.Equal(got, []string{"FL0008 spec.hosts[1]"}) {
		t.Error(got)
	}
	if got := found(validate.VirtualService(object, validate.Options{})); got != nil {
		t.Error(got)
	}
}

func TestWhereAnObjectApplies(t *testing.T) {
	for fields, want := range map[string][]string{
		`gateways: [mesh], exportTo: ["*"]`:                                nil,
		`gateways: [], exportTo: []`:                                       nil,
		`gateways: [edge, mesh, other/edge]`:                               nil,
		`gateways: [a/b/c, Edge]`:                                          {"FL0001 spec.gateways[0]", "FL0001 spec.gateways[1]"},
		`exportTo: [".", "*", prod, "~"]`:                                  nil,
		`exportTo: [a.b]`:                                                  {"FL0001 spec.exportTo[0]"},
		`tls: [{match: [{sniHosts: [a]}], route: []}], tcp: [{route: []}]`: {"FL0001 spec.tcp[0].route", "FL0007 spec.tls[0].match[0].sniHosts[0]", "FL0001 spec.tls[0].route"},
		`tcp: [{match: [{destinationSubnets: [10.0.0.0/33], sourceSubnet: x, port: 70000, gateways: [mesh]}], route: [{destination: {host: reviews}}]}]`: {
			"FL0001 spec.tcp[0].match[0].destinationSubnets[0]", "FL0001 spec.tcp[0].match[0].port", "FL0001 spec.tcp[0].match[0].sourceSubnet",
		},
	} {
		t.Run(fields, func(t *testing.T) {
			judge(t, `{hosts: [reviews], http: [{`+toReviews+`}], `+fields+`}`, want...)
		})
	}
	judge(t, `{hosts: [reviews]}`, "FL0001 spec")
	judge(t, `{http: [{delegate: {name: other}}]}`, "FL0007 spec.http[0].delegate")
	judge(t, `{gateways: [mesh], http: [{`+toReviews+`}]}`, "FL0007 spec")
	judge(t, `{hosts: [reviews], tcp: [{route: []}]}`, "FL0001 spec.tcp[0].route")
}

// Each is one route of spec.http.
func TestRoutes(t *testing.T) {
	for name, test := range map[string]struct {
		route string
		want  []string
	}{
		"one action":                {`route: [{destination: {host: reviews}}]`, nil},
		"no action":                 {`timeout: 1s`, []string{"FL0007 spec.http[0]"}},
		"two actions":               {`redirect: {uri: /a}, directResponse: {status: 200}`, []string{"FL0007 spec.http[0]"}},
		"an empty list":             {`route: []`, []string{"FL0007 spec.http[0]"}},
		"a delegate":                {`delegate: {name: other}, timeout: 1s`, nil},
		"a delegate without a name": {`delegate: {namespace: "*"}`, []string{"FL0001 spec.http[0].delegate.name", "FL0001 spec.http[0].delegate.namespace"}},
		"a delegate beside a route": {toReviews + `, delegate: {name: other}`, []string{"FL0007 spec.http[0]"}},

		"what is not implemented": {
			toReviews + `, fault: {delay: {exponentialDelay: 1s}}`, []string{"FL0002 spec.http[0].fault.delay.exponentialDelay"},
		},
		"empty lists of what is not implemented": {toReviews + `, mirrors: []`, nil},
		"a prefix for a redirect":                {`match: [{uri: {prefix: /a}}], redirect: {prefixRewrite: /b}`, nil},
		"a prefix for a redirect of other paths": {
			`match: [{uri: {prefix: /a}}, {uri: {exact: /b}}], redirect: {prefixRewrite: b, uri: /c}`,
			[]string{"FL0007 spec.http[0].redirect", "FL0001 spec.http[0].redirect.prefixRewrite", "FL0007 spec.http[0].redirect.prefixRewrite"},
		},

		"an answer of the proxy's own, and what only forwarding has": {
			`directResponse: {status: 200}, rewrite: {uri: /a}, timeout: 1s, retries: {attempts: 1}, headers: {request: {set: {a: b}}, response: {set: {a: b}}},
			fault: {abort: {httpStatus: 500}}, mirror: {host: a}, corsPolicy: {}`,
			[]string{"FL0007 spec.http[0]", "FL0007 spec.http[0].corsPolicy", "FL0007 spec.http[0].fault", "FL0007 spec.http[0].headers.request", "FL0007 spec.http[0].retries", "FL0007 spec.http[0].rewrite", "FL0007 spec.http[0].timeout"},
		},

		"weights that are no percentages":  {`route: [{destination: {host: a}, weight: 3}, {destination: {host: b}, weight: 1}]`, nil},
		"a weight left out beside another": {`route: [{destination: {host: a}, weight: 3}, {destination: {host: b}}]`, nil},
		"all weights zero":                 {`route: [{destination: {host: a}, weight: 0}, {destination: {host: b}, weight: 0}]`, []string{"FL0004 spec.http[0].route"}},
		"all weights left out":             {`route: [{destination: {host: a}}, {destination: {host: b}}]`, []string{"FL0004 spec.http[0].route"}},
		"alone with weight zero":           {`route: [{destination: {host: a}, weight: 0}]`, []string{"FL0004 spec.http[0].route"}},
		"the largest sum":                  {`route: [{destination: {host: a}, weight: 2147483647}, {destination: {host: b}, weight: 2147483647}, {destination: {host: c}, weight: 1}]`, nil},
		"a sum beyond it":                  {`route: [{destination: {host: a}, weight: 2147483647}, {destination: {host: b}, weight: 2147483647}, {destination: {host: c}, weight: 2}]`, []string{"FL0004 spec.http[0].route"}},
		"a weight below zero":              {`route: [{destination: {host: a}, weight: -1}]`, []string{"FL0001 spec.http[0].route[0].weight"}},

		"a destination by address":         {`route: [{destination: {host: 192.0.2.7}}]`, nil},
		"a destination with a port number": {`route: [{destination: {host: a, port: {number: 65535}}}]`, nil},
		"a port that is none":              {`route: [{destination: {host: a, port: {number: 65536}}}]`, []string{"FL0001 spec.http[0].route[0].destination.port.number"}},
		"a host that is none":              {`route: [{destination: {host: "a/b"}}]`, []string{"FL0001 spec.http[0].route[0].destination.host"}},
		"a wildcard destination":           {`route: [{destination: {host: "*.a"}}]`, []string{"FL0001 spec.http[0].route[0].destination.host"}},
		"subset and labels":                {`route: [{destination: {host: a, subset: v1, labels: {a: b}}}]`, []string{"FL0007 spec.http[0].route[0].destination"}},
		"a subset's name that is none":     {`route: [{destination: {host: a, subset: "version=v1"}}]`, []string{"FL0001 spec.http[0].route[0].destination.subset"}},
		"labels that no Pod has":           {`route: [{destination: {host: a, labels: {"a b": c, d: "e f"}}}]`, []string{"FL0001 spec.http[0].route[0].destination.labels[a b]", "FL0001 spec.http[0].route[0].destination.labels[d]"}},
		"no labels":                        {`route: [{destination: {host: a, labels: {}}}]`, []string{"FL0001 spec.http[0].route[0].destination.labels"}},
		"headers of a destination":         {`route: [{destination: {host: a}, headers: {request: {set: {":path": /}}}}]`, []string{"FL0005 spec.http[0].route[0].headers.request.set[:path]"}},

		"a timeout":                     {toReviews + `, timeout: 1h2m3.5s`, nil},
		"the longest timeout":           {toReviews + `, timeout: 9223372035s`, nil},
		"a timeout beyond it":           {toReviews + `, timeout: 9223372036s`, []string{"FL0001 spec.http[0].timeout"}},
		"a timeout of zero":             {toReviews + `, timeout: 0s`, []string{"FL0001 spec.http[0].timeout"}},
		"a timeout below a millisecond": {toReviews + `, timeout: 0.5ms`, []string{"FL0001 spec.http[0].timeout"}},
		"a timeout without unit":        {toReviews + `, timeout: "5"`, []string{"FL0001 spec.http[0].timeout"}},
	} {
		t.Run(name, func(t *testing.T) {
			judge(t, `{hosts: [reviews], http: [{`+test.route+`}]}`, test.want...)
		})
	}
}

// Each is one match of spec.http[0].
func TestMatches(t *testing.T) {
	const at = "spec.http[0].match[0]"
	for match, want := range map[string][]string{
		``: nil,
		`uri: {exact: ""}, scheme: {exact: https}, method: {regex: "GET|HEAD"}, authority: {prefix: a.}`: nil,
		`uri: {}`:                                {"FL0007 " + at + ".uri"},
		`method: {}`:                             {"FL0007 " + at + ".method"},
		`uri: {exact: /a, prefix: /b}`:           {"FL0007 " + at + ".uri"},
		`uri: {regex: "/(a"}`:                    {"FL0003 " + at + ".uri.regex"},
		`uri: {regex: "/a(?=b)"}`:                {"FL0003 " + at + ".uri.regex"},
		`uri: {regex: '(a)\1'}`:                  {"FL0003 " + at + ".uri.regex"},
		`uri: {regex: 'a{1001}'}`:                {"FL0003 " + at + ".uri.regex"},
		`uri: {regex: '\x{100}'}`:                {"FL0003 " + at + ".uri.regex"},
		`uri: {regex: '\\x{100}|\x{FF}|日'}`:      nil,
		`headers: {x: {regex: "["}}`:             {"FL0003 " + at + ".headers[x].regex"},
		`queryParams: {x: {regex: "["}}`:         {"FL0003 " + at + ".queryParams[x].regex"},
		`uri: {prefix: /a}, ignoreUriCase: true`: nil,
		`ignoreUriCase: true`:                    {"FL0007 " + at + ".ignoreUriCase"},
		`uri: {regex: a}, ignoreUriCase: true`:   {"FL0007 " + at + ".ignoreUriCase"},
		`headers: {x-a: {}, X-B: {exact: ""}}, withoutHeaders: {host: {exact: a}}`: nil,
		`headers: {uri: {exact: a}, ":method": {exact: a}, Authority: {}}`: {
			"FL0005 " + at + ".headers[:method]", "FL0005 " + at + ".headers[Authority]", "FL0005 " + at + ".headers[uri]",
		},
		`withoutHeaders: {scheme: {}}`:                    {"FL0005 " + at + ".withoutHeaders[scheme]"},
		`headers: {"x a": {}, "": {}}`:                    {"FL0005 " + at + ".headers[]", "FL0005 " + at + ".headers[x a]"},
		`headers: {"@request.auth.claims.a": {exact: b}}`: {"FL0002 " + at + ".headers[@request.auth.claims.a]"},
		`headers: {x: {exact: a, regex: b}}`:              {"FL0007 " + at + ".headers[x]"},
		`queryParams: {"a b": {}, c: {prefix: d}}`:        nil,
		`queryParams: {"": {}}`:                           {"FL0001 " + at + ".queryParams[]"},
		`port: 65535`:                                     nil,
		`port: -1`:                                        {"FL0001 " + at + ".port"},
		`port: 65536`:                                     {"FL0001 " + at + ".port"},
		`sourceLabels: {app: front, "*": a}`:              {"FL0001 " + at + ".sourceLabels[*]"},
		`sourceNamespace: prod`:                           nil,
		`sourceNamespace: "*"`:                            {"FL0001 " + at + ".sourceNamespace"},
		`gateways: [mesh]`:                                nil,
		`gateways: [Edge]`:                                {"FL0001 " + at + ".gateways[0]"},
	} {
		t.Run(match, func(t *testing.T) {
			judge(t, `{hosts: [reviews], http: [{match: [{`+match+`}], `+toReviews+`}]}`, want...)
		})
	}
}
