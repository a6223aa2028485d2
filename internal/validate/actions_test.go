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
		`prefixRewrite: /a`:                       {"FL0002 " + at + ".prefixRewrite"},
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
		`request: {set: {":authority": a}}`:           {"FL0005 " + at + ".request.set[:authority]"},
		`request: {add: {Host: a}}`:                   {"FL0005 " + at + ".request.add[Host]"},
		`response: {remove: [x-a, "x b", ":status"]}`: {"FL0005 " + at + ".response.remove[1]", "FL0005 " + at + ".response.remove[2]"},
		`request: {set: {x-a: b, X-A: c}}`:            {"FL0008 " + at + ".request.set[x-a]"},
	} {
		t.Run(headers, func(t *testing.T) {
			judge(t, `{hosts: [reviews], http: [{headers: {`+headers+`}, `+toReviews+`}]}`, want...)
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
		`host: a, trafficPolicy: {tls: {mode: SIMPLE}}`: {"FL0002 spec.trafficPolicy.tls.mode"},
		`host: a, trafficPolicy: {portLevelSettings: [{port: {number: 0}, tls: {mode: MESH_MUTUAL, sni: a}}]}`: {
			"FL0001 spec.trafficPolicy.portLevelSettings[0].port.number", "FL0002 spec.trafficPolicy.portLevelSettings[0].tls.sni",
		},
		`host: a, workloadSelector: {matchLabels: {a: b}}`:                                                    {"FL0002 spec.workloadSelector"},
		`host: a, subsets: [{name: v1}, {name: v2, trafficPolicy: {tunnel: {targetHost: a, targetPort: 1}}}]`: {"FL0002 spec.subsets[1].trafficPolicy.tunnel"},
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
