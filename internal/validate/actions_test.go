package validate_test

import (
	"slices"
	"strings"
	"testing"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/validate"
)

func TestRedirects(t *testing.T) {
	const at = "spec.http[0].redirect"
	for redirect, want := range map[string][]string{
		`uri: "/a?b=c", authority: "a.example:8443", scheme: https, redirectCode: 308`: nil,
		`authority: "[2001:db8::7]:80"`:           nil,
		`derivePort: FROM_REQUEST_PORT`:           nil,
		`derivePort: FROM_PROTOCOL_DEFAULT`:       nil,
		`derivePort: FROM_NOWHERE`:                {"FL0001 " + at + ".derivePort"},
		`port: 80, derivePort: FROM_REQUEST_PORT`: {"FL0007 " + at},
		`port: 70000`:                             {"FL0001 " + at + ".port"},
		``:                                        {"FL0007 " + at},
		`redirectCode: 302`:                       {"FL0007 " + at},
		`uri: a`:                                  {"FL0001 " + at + ".uri"},
		`uri: "/a b"`:                             {"FL0001 " + at + ".uri"},
		`authority: "http://a"`:                   {"FL0001 " + at + ".authority"},
		`authority: "a/b"`:                        {"FL0001 " + at + ".authority"},
		`authority: "a@b"`:                        {"FL0001 " + at + ".authority"},
		`scheme: ftp`:                             {"FL0001 " + at + ".scheme"},
		`uri: /a, redirectCode: 304`:              {"FL0001 " + at + ".redirectCode"},
		`prefixRewrite: /a`:                       {"FL0007 " + at + ".prefixRewrite"},
	} {
		t.Run(redirect, func(t *testing.T) {
			judge(t, `{hosts: [reviews], http: [{redirect: {`+redirect+`}}]}`, want...)
		})
	}
}

func TestDirectResponses(t *testing.T) {
	const at = "spec.http[0].directResponse"
	for response, want := range map[string][]string{
		`status: 200`:                                   nil,
		`status: 599, body: {string: ""}`:               nil,
		`status: 200, body: {bytes: "aGVsbG8="}`:        nil,
		`status: 199`:                                   {"FL0001 " + at + ".status"},
		`status: 600`:                                   {"FL0001 " + at + ".status"},
		`status: 200, body: {}`:                         {"FL0007 " + at + ".body"},
		`status: 200, body: {string: a, bytes: "aGV5"}`: {"FL0007 " + at + ".body"},
		`status: 200, body: {string: ` + strings.Repeat("a", 1<<20) + `}`:   nil,
		`status: 200, body: {string: ` + strings.Repeat("a", 1<<20+1) + `}`: {"FL0001 " + at + ".body"},
	} {
		t.Run(response[:min(50, len(response))], func(t *testing.T) {
			judge(t, `{hosts: [reviews], http: [{directResponse: {`+response+`}}]}`, want...)
		})
	}
}

func TestRewrites(t *testing.T) {
	const at = "spec.http[0].rewrite"
	for rewrite, want := range map[string][]string{
		`uri: /a, authority: a.example`:                                    nil,
		`uriRegexRewrite: {match: '^/(\w+)/(\w+)', rewrite: '/\2/\1\\\0'}`: nil,
		`uriRegexRewrite: {match: a}`:                                      nil,
		``:                                                                 {"FL0007 " + at},
		`uri: /a, uriRegexRewrite: {match: a}`:                             {"FL0007 " + at},
		`uri: a`:                                                           {"FL0001 " + at + ".uri"},
		`uri: "/ a"`:                                                       {"FL0001 " + at + ".uri"},
		`authority: "a b"`:                                                 {"FL0001 " + at + ".authority"},
		`uriRegexRewrite: {match: ""}`:                                     {"FL0001 " + at + ".uriRegexRewrite.match"},
		`uriRegexRewrite: {match: "("}`:                                    {"FL0003 " + at + ".uriRegexRewrite.match"},
		`uriRegexRewrite: {match: (a), rewrite: '\2'}`:                     {"FL0003 " + at + ".uriRegexRewrite.rewrite"},
		`uriRegexRewrite: {match: a, rewrite: '\'}`:                        {"FL0003 " + at + ".uriRegexRewrite.rewrite"},
		`uriRegexRewrite: {match: a, rewrite: '\n'}`:                       {"FL0003 " + at + ".uriRegexRewrite.rewrite"},
		`uriRegexRewrite: {match: a, rewrite: "a\nb"}`:                     {"FL0003 " + at + ".uriRegexRewrite.rewrite"},
	} {
		t.Run(rewrite, func(t *testing.T) {
			judge(t, `{hosts: [reviews], http: [{rewrite: {`+rewrite+`}, `+toReviews+`}]}`, want...)
		})
	}
}

func TestRetries(t *testing.T) {
	const at = "spec.http[0].retries"
	for retries, want := range map[string][]string{
		``:            nil,
		`attempts: 0`: nil,
		`attempts: 3, perTryTimeout: 1s, backoff: 1ms, retryOn: "5xx, reset,503,deadline-exceeded", retryRemoteLocalities: true, retryIgnorePreviousHosts: false`: nil,
		`attempts: -1`:                                 {"FL0001 " + at + ".attempts"},
		`attempts: 0, retryOn: reset`:                  {"FL0007 " + at},
		`attempts: 0, retryIgnorePreviousHosts: false`: {"FL0007 " + at},
		`perTryTimeout: 0s`:                            {"FL0001 " + at + ".perTryTimeout"},
		`backoff: x`:                                   {"FL0001 " + at + ".backoff"},
		`retryOn: "5XX"`:                               {"FL0009 " + at + ".retryOn"},
		`retryOn: "reset,,5xx"`:                        {"FL0009 " + at + ".retryOn"},
		`retryOn: "099,600,0503"`:                      {"FL0009 " + at + ".retryOn", "FL0009 " + at + ".retryOn", "FL0009 " + at + ".retryOn"},
	} {
		t.Run(retries, func(t *testing.T) {
			judge(t, `{hosts: [reviews], http: [{retries: {`+retries+`}, `+toReviews+`}]}`, want...)
		})
	}
}

func TestHeaders(t *testing.T) {
	const at = "spec.http[0].headers"
	for headers, want := range map[string][]string{
		`request: {set: {x-a: ""}, add: {x-a: b}, remove: [x-c]}, response: {remove: [server]}`: nil,
		`request: {set: {x-a: "100%% of %DOWNSTREAM_REMOTE_ADDRESS% and %REQ(x-b?:path):20%"}}`: nil,
		`request: {set: {x-a: "100%"}}`:               {"FL0006 " + at + ".request.set[x-a]"},
		`request: {add: {x-a: "a%20b"}}`:              {"FL0006 " + at + ".request.add[x-a]"},
		`request: {set: {x-a: "%lower%"}}`:            {"FL0006 " + at + ".request.set[x-a]"},
		`response: {set: {x-a: "a\nb"}}`:              {"FL0006 " + at + ".response.set[x-a]"},
		`request: {set: {":authority": "a:80"}}`:      nil,
		`request: {set: {host: "a b"}}`:               {"FL0001 " + at + ".request.set[host]"},
		`request: {set: {host: ""}}`:                  {"FL0006 " + at + ".request.set[host]"},
		`request: {set: {host: a, Host: b}}`:          {"FL0008 " + at + ".request.set[host]"},
		`response: {set: {host: a}}`:                  {"FL0005 " + at + ".response.set[host]"},
		`request: {add: {Host: a}}`:                   {"FL0005 " + at + ".request.add[Host]"},
		`response: {remove: [x-a, "x b", ":status"]}`: {"FL0005 " + at + ".response.remove[1]", "FL0005 " + at + ".response.remove[2]"},
		`request: {set: {x-a: b, X-A: c}}`:            {"FL0008 " + at + ".request.set[x-a]"},
	} {
		t.Run(headers, func(t *testing.T) {
			judge(t, `{hosts: [reviews], http: [{headers: {`+headers+`}, `+toReviews+`}]}`, want...)
		})
	}
}

// Each goes beside a route.
func TestFaultsMirrorsAndCORS(t *testing.T) {
	for fields, want := range map[string][]string{
		`fault: {delay: {fixedDelay: 1s, percentage: {value: 0.1}}, abort: {httpStatus: 503, percentage: {value: 100}}}`: nil,
		`fault: {abort: {grpcStatus: unavailable}}`:                   nil,
		`fault: {abort: {grpcStatus: "16"}}`:                          nil,
		`fault: {}`:                                                   {"FL0007 spec.http[0].fault"},
		`fault: {delay: {percent: 101}}`:                              {"FL0007 spec.http[0].fault.delay", "FL0001 spec.http[0].fault.delay.percent"},
		`fault: {delay: {fixedDelay: x, percentage: {value: 100.1}}}`: {"FL0001 spec.http[0].fault.delay.fixedDelay", "FL0001 spec.http[0].fault.delay.percentage.value"},
		`fault: {delay: {exponentialDelay: 1s}}`:                      {"FL0002 spec.http[0].fault.delay.exponentialDelay"},
		`fault: {abort: {http2Error: REFUSED_STREAM}}`:                {"FL0002 spec.http[0].fault.abort.http2Error"},
		`fault: {abort: {}}`:                                          {"FL0007 spec.http[0].fault.abort"},
		`fault: {abort: {httpStatus: 500, grpcStatus: "1"}}`:          {"FL0007 spec.http[0].fault.abort"},
		`fault: {abort: {httpStatus: 600}}`:                           {"FL0001 spec.http[0].fault.abort.httpStatus"},
		`fault: {abort: {grpcStatus: "17"}}`:                          {"FL0001 spec.http[0].fault.abort.grpcStatus"},

		`mirror: {host: a}, mirrorPercentage: {value: 1.5}`:                       {},
		`mirrors: [{destination: {host: a, subset: v1}, percentage: {value: 0}}]`: nil,
		`mirror: {host: a}, mirrors: [{destination: {host: b}}]`:                  {"FL0007 spec.http[0].mirror"},
		`mirrors: [{destination: {host: "a b"}, percentage: {value: -1}}]`:        {"FL0001 spec.http[0].mirrors[0].destination.host", "FL0001 spec.http[0].mirrors[0].percentage.value"},
		`mirror: {host: a, subset: v1, labels: {a: b}}, mirror_percent: -1`:       {"FL0007 spec.http[0].mirror", "FL0001 spec.http[0].mirror.percent"},
		`mirrorPercent: 7`: {"FL0007 spec.http[0]"},

		`corsPolicy: {allowOrigins: [{exact: "*"}, {regex: a.*}], allowMethods: [GET, "*"], allowHeaders: [x-a], exposeHeaders: ["*"], maxAge: 24h, allowCredentials: false}`: nil,
		`corsPolicy: {allowOrigins: [{}, {regex: "("}]}`: {"FL0007 spec.http[0].corsPolicy.allowOrigins[0]", "FL0003 spec.http[0].corsPolicy.allowOrigins[1].regex"},
		`corsPolicy: {allowMethods: ["GET,PUT"], allowHeaders: [""], exposeHeaders: ["a b"]}`: {
			"FL0001 spec.http[0].corsPolicy.allowHeaders[0]", "FL0001 spec.http[0].corsPolicy.allowMethods[0]", "FL0001 spec.http[0].corsPolicy.exposeHeaders[0]",
		},
		`corsPolicy: {maxAge: 1500ms, unmatchedPreflights: DROP}`: {"FL0001 spec.http[0].corsPolicy.maxAge", "FL0001 spec.http[0].corsPolicy.unmatchedPreflights"},
	} {
		t.Run(fields, func(t *testing.T) {
			judge(t, `{hosts: [reviews], http: [{`+fields+`, `+toReviews+`}]}`, want...)
		})
	}
}

func TestDestinationRules(t *testing.T) {
	for spec, want := range map[string][]string{
		`host: reviews`: nil,
		`host: reviews, exportTo: ["*"], subsets: [{name: v1, labels: {version: v1}}, {name: all}]`: nil,
		`host: "*.local"`:                               nil,
		`host: "a*.local"`:                              {"FL0001 spec.host"},
		`host: 192.0.2.7`:                               {"FL0002 spec.host"},
		`host: "a b"`:                                   {"FL0001 spec.host"},
		`host: a, exportTo: [prod, "a b"]`:              {"FL0001 spec.exportTo[1]"},
		`host: a, trafficPolicy: {tls: {}}`:             {},
		`host: a, trafficPolicy: {tls: {mode: SIMPLE}}`: nil,
		`host: a, trafficPolicy: {portLevelSettings: [{port: {number: 0}, tls: {mode: MESH_MUTUAL, sni: a}}]}`: {
			"FL0001 spec.trafficPolicy.portLevelSettings[0].port.number",
		},
		`host: a, workloadSelector: {matchLabels: {a: b}}`:                                                    nil,
		`host: a, subsets: [{name: v1}, {name: v2, trafficPolicy: {tunnel: {targetHost: a, targetPort: 1}}}]`: nil,
		`host: a, subsets: [{name: v1}, {name: v2}, {name: v1}]`:                                              {"FL0008 spec.subsets[2].name"},
		`host: a, subsets: [{name: "v1|x"}, {name: ""}]`:                                                      {"FL0001 spec.subsets[0].name", "FL0001 spec.subsets[1].name"},
		`host: a, subsets: [{name: v1, labels: {"a b": c}}]`:                                                  {"FL0001 spec.subsets[0].labels[a b]"},
	} {
		t.Run(spec, func(t *testing.T) {
			object := &v1alpha1.DestinationRule{}
			decode(t, "{metadata: {namespace: prod, name: reviews}, spec: {"+spec+"}}", object)
			findings := validate.DestinationRule(object, validate.Options{})
			if got := found(findings); !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", findings, want)
			}
		})
	}
}
