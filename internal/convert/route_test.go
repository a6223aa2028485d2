package convert_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// What defaults mean, and how names are completed. That no field is lost is tried in
// fields_test.go and fuzz_test.go.
func TestRouteTable(t *testing.T) {
	object := decode[v1alpha1.VirtualService](t, `
metadata: {name: reviews, namespace: prod, generation: 7, creationTimestamp: "2026-01-02T03:04:05Z"}
spec:
  hosts: [reviews, Shop.Example.com]
  gateways: [mesh]
  exportTo: ["*"]
  http:
  - name: first
    match:
    - uri: {prefix: /v2}
      headers: {X-User: {exact: ""}, x-any: {}}
      queryParams: {Debug: {regex: "[01]"}}
      gateways: [mesh]
    - {}
    route:
    - destination: {host: reviews, labels: {version: v2}}
    timeout: 1m30s
    retries: {retryOn: "5xx, 503"}
    headers: {request: {set: {X-B: "2", X-A: "1"}, remove: [X-Old, x-old]}}
  - route:
    - destination: {host: reviews, subset: v1}
      weight: 90
    - destination: {host: ratings.other.svc.cluster.local, port: {number: 9080}}
      weight: 10
    - destination: {host: reviews}
  - redirect: {authority: Elsewhere}
    match: [{uri: {exact: /old}}]
  - directResponse: {status: 503, body: {string: away}}
`)
	table, findings := convert.RouteTable(object, convert.Options{})
	if table == nil {
		t.Fatal(findings)
	}
	same(t, table, &mesh.RouteTable{
		Origin: mesh.Origin{
			ObjectID:   mesh.ObjectID{Kind: "VirtualService", Namespace: "prod", Name: "reviews"},
			Generation: 7,
			Created:    time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Local(),
		},
		Hosts:    []string{"reviews.prod.svc.cluster.local", "shop.example.com"},
		Gateways: []string{"mesh"},
		HTTP: []mesh.HTTPRoute{
			{
				Name: "first", Path: "spec.http[0]",
				Matches: []mesh.HTTPMatch{
					{
						Path:     "spec.http[0].match[0]",
						URI:      &mesh.StringMatch{Kind: mesh.Prefix, Value: "/v2"},
						Gateways: []string{"mesh"},
						Headers: []mesh.NamedMatch{
							{Name: "x-any"},
							{Name: "x-user", Value: &mesh.StringMatch{Kind: mesh.Exact}},
						},
						QueryParams: []mesh.NamedMatch{{Name: "Debug", Value: &mesh.StringMatch{Kind: mesh.Regex, Value: "[01]"}}},
					},
					{Path: "spec.http[0].match[1]"},
				},
				Destinations: []mesh.Destination{{
					Path: "spec.http[0].route[0].destination", Host: "reviews.prod.svc.cluster.local",
					Labels: map[string]string{"version": "v2"}, Weight: 1,
				}},
				Timeout: 90 * time.Second,
				Retries: &mesh.Retries{Attempts: 2, On: "5xx,503"},
				Headers: mesh.HeaderOperations{Request: mesh.HeaderChange{
					Set:    []mesh.HeaderValue{{Name: "x-a", Value: "1"}, {Name: "x-b", Value: "2"}},
					Remove: []string{"x-old"},
				}},
			},
			{
				Path: "spec.http[1]",
				Destinations: []mesh.Destination{
					{Path: "spec.http[1].route[0].destination", Host: "reviews.prod.svc.cluster.local", Subset: "v1", Weight: 90},
					{Path: "spec.http[1].route[1].destination", Host: "ratings.other.svc.cluster.local", Port: 9080, Weight: 10},
					{Path: "spec.http[1].route[2].destination", Host: "reviews.prod.svc.cluster.local"},
				},
			},
			{
				Path:     "spec.http[2]",
				Matches:  []mesh.HTTPMatch{{Path: "spec.http[2].match[0]", URI: &mesh.StringMatch{Kind: mesh.Exact, Value: "/old"}}},
				Redirect: &mesh.Redirect{Authority: "Elsewhere", Code: 301},
			},
			{Path: "spec.http[3]", DirectResponse: &mesh.DirectResponse{Status: 503, Body: []byte("away")}},
		},
	})
}

func TestRouteTableOfAnotherDomain(t *testing.T) {
	object := decode[v1alpha1.VirtualService](t, `{metadata: {namespace: prod}, spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}}`)
	table, _ := convert.RouteTable(object, convert.Options{ClusterDomain: "example.org"})
	if table.Hosts[0] != "reviews.prod.svc.example.org" || table.HTTP[0].Destinations[0].Host != "reviews.prod.svc.example.org" {
		t.Errorf("%+v", table)
	}
}

func TestRetriesThatAreTurnedOff(t *testing.T) {
	object := decode[v1alpha1.VirtualService](t, `{spec: {hosts: [a.b], http: [{retries: {attempts: 0}, route: [{destination: {host: a.b}}]}, {route: [{destination: {host: a.b}}]}]}}`)
	table, findings := convert.RouteTable(object, convert.Options{})
	if table == nil {
		t.Fatal(findings)
	}
	same(t, table.HTTP[0].Retries, &mesh.Retries{})
	same(t, table.HTTP[1].Retries, (*mesh.Retries)(nil))
}

func TestPolicy(t *testing.T) {
	object := decode[v1alpha1.DestinationRule](t, `
metadata: {name: reviews, namespace: prod, generation: 3}
spec: {host: Reviews, exportTo: [prod, ".", dev], subsets: [{name: v1, labels: {version: v1}}, {name: all}]}
`)
	policy, findings := convert.Policy(object, convert.Options{})
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	same(t, policy, &mesh.Policy{
		Origin:   mesh.Origin{ObjectID: mesh.ObjectID{Kind: "DestinationRule", Namespace: "prod", Name: "reviews"}, Generation: 3},
		Host:     "reviews.prod.svc.cluster.local",
		ExportTo: []string{"dev", "prod"},
		Subsets: []mesh.Subset{
			{Name: "v1", Path: "spec.subsets[0]", Labels: map[string]string{"version": "v1"}},
			{Name: "all", Path: "spec.subsets[1]"},
		},
	})
}

func TestRefusedObjectsHaveNoValue(t *testing.T) {
	routes := decode[v1alpha1.VirtualService](t, `{metadata: {name: a}, spec: {hosts: ["192.0.2.7"], http: [{route: [{destination: {host: a.b}}]}]}}`)
	if table, findings := convert.RouteTable(routes, convert.Options{}); table != nil || len(findings) != 1 {
		t.Errorf("%v, %v", table, findings)
	}
	rule := decode[v1alpha1.DestinationRule](t, `{metadata: {name: a}, spec: {host: "192.0.2.7"}}`)
	if policy, findings := convert.Policy(rule, convert.Options{}); policy != nil || len(findings) != 1 {
		t.Errorf("%v, %v", policy, findings)
	}
}

func TestSamplesAreAccepted(t *testing.T) {
	for _, sample := range corpusFiles(t, "config/samples", "VirtualService") {
		if table, findings := convert.RouteTable(decode[v1alpha1.VirtualService](t, string(sample)), convert.Options{}); table == nil || len(findings) > 0 {
			t.Errorf("%v in %s", findings, sample)
		}
	}
	for _, sample := range corpusFiles(t, "config/samples", "DestinationRule") {
		if policy, findings := convert.Policy(decode[v1alpha1.DestinationRule](t, string(sample)), convert.Options{}); policy == nil || len(findings) > 0 {
			t.Errorf("%v in %s", findings, sample)
		}
	}
}

// What the API server takes is used, or refused for what is not implemented and for sums,
// which its rules cannot tell; never for another reason.
func TestRoutesThatNoRequestComesTo(t *testing.T) {
	object := decode[v1alpha1.VirtualService](t, `
metadata: {namespace: prod, name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /a}}, {uri: {exact: /a/b}}, {uri: {prefix: /b}, headers: {x: {prefix: one}}}]
    directResponse: {status: 200}
  - match:
    - {uri: {prefix: /A}}
    - {uri: {prefix: /a/}, method: {exact: GET}}
    - {uri: {exact: /b}, headers: {x: {exact: one two}, z: {}}, port: 80}
    - {uri: {exact: /b}, headers: {x: {}}}
    - {uri: {regex: /a/.*}}
    directResponse: {status: 200}
  - match: [{uri: {prefix: /a}, sourceLabels: {app: front}}, {uri: {prefix: /a}, withoutHeaders: {x: {}}}]
    directResponse: {status: 200}
  - directResponse: {status: 200}
  - directResponse: {status: 404}
`)
	table, findings := convert.RouteTable(object, convert.Options{})
	if table == nil {
		t.Fatal(findings)
	}
	var got []string
	for _, finding := range findings {
		got = append(got, finding.Code+" "+finding.Path+" "+strings.TrimPrefix(finding.Text, "no request comes here: "))
	}
	want := []string{
		"FL0120 spec.http[0].match[1] spec.http[0].match[0] takes them all",
		"FL0120 spec.http[1].match[1] spec.http[0].match[0] takes them all",
		"FL0120 spec.http[1].match[2] spec.http[0].match[2] takes them all",
		"FL0120 spec.http[2] spec.http[0].match[0] takes them all",
		"FL0120 spec.http[4] spec.http[3] takes them all",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestObjectsThatTheSchemaTakes(t *testing.T) {
	used := 0
	judge := func(object []byte, accepted bool, findings []message.Finding) {
		if accepted {
			used++
		}
		for _, finding := range findings {
			if !slices.Contains([]string{"FL0002", "FL0004", "FL0120"}, finding.Code) {
				t.Errorf("%s in %s", finding, object)
			}
		}
	}
	for _, object := range corpusFiles(t, "api/v1alpha1/testdata/valid/*", "VirtualService") {
		table, findings := convert.RouteTable(decode[v1alpha1.VirtualService](t, string(object)), convert.Options{})
		judge(object, table != nil, findings)
	}
	for _, object := range corpusFiles(t, "api/v1alpha1/testdata/valid/*", "DestinationRule") {
		policy, findings := convert.Policy(decode[v1alpha1.DestinationRule](t, string(object)), convert.Options{})
		judge(object, policy != nil, findings)
	}
	if used < 9 {
		t.Errorf("only %d are used", used)
	}
}
