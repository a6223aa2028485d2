package convert_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/translate"
	"fairlead.dev/fairlead/internal/validate"
)

// The promise that no field is accepted and ignored: every leaf field of each kind is given
// two values, one at a time, in an object that is accepted otherwise. Then either proxies
// are told two different things, or there is one FL0002 with the path of the field, or of
// the field around it that is not implemented.

var virtualServiceLeaves = leafTest{
	kind: convert.KindVirtualService,
	base: `{hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}`,
	// Objects to set the leaf in, where it does not go with a route or needs another field:
	// the longest start of the leaf's path that is listed is taken.
	bases: map[string]string{
		"spec.http[].redirect":                 `{hosts: [reviews], http: [{redirect: {authority: elsewhere}}]}`,
		"spec.http[].redirect.authority":       `{hosts: [reviews], http: [{redirect: {uri: /elsewhere}}]}`,
		"spec.http[].directResponse":           `{hosts: [reviews], http: [{directResponse: {status: 200}}]}`,
		"spec.http[].redirect.prefixRewrite":   `{hosts: [reviews], http: [{match: [{uri: {prefix: /a}}], redirect: {authority: elsewhere}}]}`,
		"spec.http[].delegate":                 `{hosts: [reviews], http: [{}]}`,
		"spec.http[].delegate.namespace":       `{hosts: [reviews], http: [{delegate: {name: shared}}]}`,
		"spec.http[].fault.delay.percent":      `{hosts: [reviews], http: [{fault: {delay: {fixedDelay: 1s}}, route: [{destination: {host: reviews}}]}]}`,
		"spec.http[].fault.abort.percent":      `{hosts: [reviews], http: [{fault: {abort: {httpStatus: 500}}, route: [{destination: {host: reviews}}]}]}`,
		"spec.http[].mirror":                   `{hosts: [reviews], http: [{mirror: {host: reviews}, route: [{destination: {host: reviews}}]}]}`,
		"spec.http[].mirrors[].destination":    `{hosts: [reviews], http: [{mirrors: [{destination: {host: reviews}}], route: [{destination: {host: reviews}}]}]}`,
		"spec.http[].mirrors[].percentage":     `{hosts: [reviews], http: [{mirrors: [{destination: {host: reviews}}], route: [{destination: {host: reviews}}]}]}`,
		"spec.http[].match[].ignoreUriCase":    `{hosts: [reviews], http: [{match: [{uri: {prefix: /a}}], route: [{destination: {host: reviews}}]}]}`,
		"spec.http[].rewrite.uriRegexRewrite":  `{hosts: [reviews], http: [{rewrite: {uriRegexRewrite: {match: a}}, route: [{destination: {host: reviews}}]}]}`,
		"spec.http[].route[].weight":           `{hosts: [reviews], http: [{route: [{destination: {host: reviews}}, {destination: {host: ratings}, weight: 1}]}]}`,
		"spec.http[].retries":                  `{hosts: [reviews], http: [{retries: {attempts: 3}, route: [{destination: {host: reviews}}]}]}`,
		"spec.http[].match[].headers{}":        `{hosts: [reviews], http: [{match: [{headers: {key: {}}}], route: [{destination: {host: reviews}}]}]}`,
		"spec.http[].match[].withoutHeaders{}": `{hosts: [reviews], http: [{match: [{withoutHeaders: {key: {}}}], route: [{destination: {host: reviews}}]}]}`,
		"spec.tcp[]":                           `{hosts: [reviews], tcp: [{route: [{destination: {host: ratings}}]}]}`,
		"spec.tcp[].route[].weight":            `{hosts: [reviews], tcp: [{route: [{destination: {host: reviews}}, {destination: {host: ratings}, weight: 1}]}]}`,
		"spec.tls[]":                           `{hosts: ["*"], tls: [{match: [{sniHosts: [text], port: 9}], route: [{destination: {host: ratings}}]}]}`,
		"spec.tls[].match[].sniHosts":          `{hosts: ["*"], tls: [{match: [{port: 9}], route: [{destination: {host: ratings}}]}]}`,
		"spec.tls[].route[].weight":            `{hosts: ["*"], tls: [{match: [{sniHosts: [text], port: 9}], route: [{destination: {host: reviews}}, {destination: {host: ratings}, weight: 1}]}]}`,
		"spec.http[].match[].queryParams{}":    `{hosts: [reviews], http: [{match: [{queryParams: {key: {}}}], route: [{destination: {host: reviews}}]}]}`,
	},
	samples: map[string][2]any{
		"spec.exportTo[]":                            {"*", "prod"},
		"spec.gateways[]":                            {"mesh", "edge"},
		"spec.http[].match[].gateways[]":             {"mesh", "edge"},
		"spec.tcp[].match[].destinationSubnets[]":    {"10.0.0.0/8", "11.0.0.0/8"},
		"spec.tcp[].match[].gateways[]":              {"mesh", "edge"},
		"spec.tcp[].match[].port":                    {9, 8},
		"spec.tcp[].match[].sourceNamespace":         {"default", "prod"},
		"spec.tcp[].match[].sourceSubnet":            {"10.0.0.0/8", "10.1.2.3"},
		"spec.tls[].match[].destinationSubnets[]":    {"10.0.0.0/8", "::/0"},
		"spec.tls[].match[].gateways[]":              {"mesh", "edge"},
		"spec.tls[].match[].port":                    {9, 8},
		"spec.tls[].match[].sourceNamespace":         {"default", "prod"},
		"spec.http[].corsPolicy.unmatchedPreflights": {"FORWARD", "IGNORE"},
		"spec.http[].delegate.name":                  {"shared", "other"},
		"spec.http[].delegate.namespace":             {"default", "prod"},
		"spec.http[].fault.abort.grpcStatus":         {"UNAVAILABLE", "5"},
		"spec.http[].fault.abort.httpStatus":         {404, 410},
		"spec.http[].redirect.prefixRewrite":         {"/a", "/b"},
		"spec.http[].directResponse.status":          {404, 410},
		"spec.http[].match[].sourceNamespace":        {"default", "prod"},
		"spec.http[].redirect.derivePort":            {v1alpha1.FromRequestPort, v1alpha1.FromProtocolDefault},
		"spec.http[].redirect.redirectCode":          {307, 308},
		"spec.http[].redirect.scheme":                {"http", "https"},
		"spec.http[].redirect.uri":                   {"/a", "/b"},
		"spec.http[].retries.retryOn":                {"reset", "503"},
		"spec.http[].rewrite.uri":                    {"/a", "/b"},
	},
	add: func(store *mesh.Store, spec []byte) ([]message.Finding, error) {
		object := &v1alpha1.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "leaf"}}
		err := yaml.UnmarshalStrict(spec, &object.Spec)
		table, findings := convert.RouteTable(object, convert.Options{})
		if table != nil {
			store.SetRouteTable(table)
		}
		return findings, err
	},
}

func TestEveryFieldOfVirtualServiceActsOrIsRefused(t *testing.T) {
	virtualServiceLeaves.run(t, reflect.TypeFor[v1alpha1.VirtualServiceSpec](), 100)
}

type leafTest struct {
	// atGateway has a gateway's proxy be asked; without are leaves that say nothing to proxies.
	atGateway bool
	without   []string

	kind    string
	base    string
	bases   map[string]string
	samples map[string][2]any
	// sole are leaves of which one value only is accepted, or that do not concern the caller.
	sole map[string]bool
	// intercepted has the caller's proxy get all of its traffic; else it is called by address.
	intercepted bool
	// add converts an object with this spec and puts the value into the store.
	add func(store *mesh.Store, spec []byte) ([]message.Finding, error)
}

// run tries every leaf; that there are at least so many shows that they are found.
func (l leafTest) run(t *testing.T, spec reflect.Type, least int) {
	leaves := leavesOf("spec", spec)
	if len(leaves) < least {
		t.Errorf("only %d leaves found: %v", len(leaves), leaves)
	}
	for _, leaf := range leaves {
		if slices.Contains(l.without, leaf.pattern) {
			continue
		}
		t.Run(leaf.pattern, func(t *testing.T) { l.try(t, leaf) })
	}
}

func (l leafTest) try(t *testing.T, leaf leaf) {
	samples := leaf.samples
	if given, found := l.samples[leaf.pattern]; found {
		samples = given
	}
	first, findings := l.served(t, leaf, samples[0])
	state, _ := validate.SupportOf(l.kind, leaf.pattern)
	switch {
	case len(findings) > 0 && state == validate.Implemented:
		t.Errorf("said to be implemented, and refused: %v", findings)
	case len(findings) > 0:
		want := message.NotImplemented(findings[0].Object, l.refusedPath(leaf.pattern))
		if len(findings) != 1 || findings[0].Code != want.Code || findings[0].Path != want.Path {
			t.Errorf("got %v, want one %s at %s", findings, want.Code, want.Path)
		}
	case state == validate.NotImplemented:
		t.Errorf("said not to be implemented, and accepted")
	case l.sole[leaf.pattern]:
	default:
		second, findings := l.served(t, leaf, samples[1])
		if len(findings) > 0 {
			t.Errorf("with %v: %v", samples[1], findings)
		}
		if cmp.Equal(first, second, protocmp.Transform()) {
			t.Errorf("accepted and ignored: %v and %v give the same", samples[0], samples[1])
		}
	}
}

// served returns what the caller's proxy is told when the leaf has the value, or why the
// object is not accepted.
func (l leafTest) served(t *testing.T, leaf leaf, value any) ([]translate.Resource, []message.Finding) {
	t.Helper()
	base, longest := l.base, 0
	for start, other := range l.bases {
		if strings.HasPrefix(leaf.pattern, start) && len(start) > longest {
			base, longest = other, len(start)
		}
	}
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(base), &tree); err != nil {
		t.Fatal(err)
	}
	set(t, tree, strings.Split(strings.TrimPrefix(leaf.pattern, "spec."), "."), value)
	spec, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	store, caller := smallMesh()
	caller.Explicit = !l.intercepted
	findings, err := l.add(store, spec)
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	if l.atGateway {
		gateway := *caller
		gateway.Gateway, gateway.OutboundTCP = true, nil
		store.SetWorkload(&gateway)
		caller = &gateway
	}
	class := translate.ClassOf(store, caller) // by what the object looks at
	var resources []translate.Resource
	for _, unit := range translate.Units(store, class) {
		resources = append(resources, translate.Translate(store, unit).Resources...)
	}
	return resources, findings
}

// smallMesh has a service with several ports, its Pod, and the Pod whose proxy is asked.
func smallMesh() (*mesh.Store, *mesh.Workload) {
	store := mesh.NewStore()
	service := &mesh.Service{
		Host: "reviews.default.svc.cluster.local", Name: "reviews", Namespace: "default",
		Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.1")},
	}
	for _, number := range []uint16{7, 8, 80} {
		name := strconv.Itoa(int(number))
		service.Ports = append(service.Ports, mesh.ServicePort{Name: name, Number: number, Protocol: mesh.HTTP})
	}
	for _, number := range []uint16{9, 10} {
		service.Ports = append(service.Ports, mesh.ServicePort{Name: strconv.Itoa(int(number)), Number: number, Protocol: mesh.TCP})
	}
	store.SetService(service)
	caller := &mesh.Workload{
		Namespace: "default", Name: "caller", Address: netip.MustParseAddr("198.18.0.1"), Explicit: true, HasCertificates: true,
		Labels: map[string]string{"key": "text"}, Locality: mesh.Locality{Region: "text", Zone: "a"},
		OutboundTCP: []mesh.OutboundTCP{{Host: service.Host, Port: 9, ListenPort: 9009}, {Host: service.Host, Port: 10, ListenPort: 9010}},
	}
	server := &mesh.Workload{
		Namespace: "default", Name: "server", Address: netip.MustParseAddr("198.18.0.2"), Explicit: true,
		Labels: map[string]string{"key": "text"}, Ready: true,
	}
	store.SetWorkload(caller)
	store.SetWorkload(server)
	store.SetRouteTable(&mesh.RouteTable{
		Origin: mesh.Origin{ObjectID: mesh.ObjectID{Kind: convert.KindVirtualService, Namespace: "default", Name: "shared"}},
		HTTP:   []mesh.HTTPRoute{{DirectResponse: &mesh.DirectResponse{Status: 200}}},
	})
	store.SetEndpoints(service.Host, "slice", []mesh.Endpoint{
		{Address: server.Address, PortName: "80", Port: 8080, Ready: true, Serving: true, Workload: server.Key()},
	})
	return store, caller
}

// refusedPath is where a leaf's finding is expected: at the outermost field that is not
// implemented, in the object that set builds, which has one entry in each list.
func (l leafTest) refusedPath(pattern string) string {
	for i := range pattern {
		start, isEnd := pattern[:i], strings.ContainsRune(".[{", rune(pattern[i]))
		if state, _ := validate.SupportOf(l.kind, start); isEnd && state == validate.NotImplemented {
			pattern = start
			break
		}
	}
	return strings.ReplaceAll(pattern, "[]", "[0]")
}

// set puts a value at a path into a tree, through maps and the first items of lists.
func set(t *testing.T, tree map[string]any, path []string, value any) {
	t.Helper()
	name, isList := strings.CutSuffix(path[0], "[]")
	name, isMap := strings.CutSuffix(name, "{}")
	switch last := len(path) == 1; {
	case last && isList:
		tree[name] = []any{value}
	case last && isMap:
		tree[name] = map[string]any{"key": value}
	case last:
		tree[name] = value
	case isList:
		items, _ := tree[name].([]any)
		if len(items) == 0 {
			items = []any{map[string]any{}}
			tree[name] = items
		}
		set(t, items[0].(map[string]any), path[1:], value)
	default:
		inner, _ := tree[name].(map[string]any)
		if inner == nil {
			inner = map[string]any{}
			tree[name] = inner
		}
		if isMap {
			if inner["key"] == nil {
				inner["key"] = map[string]any{}
			}
			inner = inner["key"].(map[string]any)
		}
		set(t, inner, path[1:], value)
	}
}

type leaf struct {
	// pattern is the field's place in the schema, such as spec.http[].match[].uri.exact.
	pattern string
	// samples are two values for it.
	samples [2]any
}

// leavesOf lists the fields below a type that have a plain value.
func leavesOf(pattern string, typ reflect.Type) []leaf {
	switch typ {
	case reflect.TypeFor[[]byte]():
		return []leaf{{pattern, [2]any{"dGV4dA==", "d29yZA=="}}}
	case reflect.TypeFor[v1alpha1.Duration](), reflect.TypeFor[v1alpha1.DurationOrZero]():
		return []leaf{{pattern, [2]any{"3s", "4s"}}}
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return leavesOf(pattern, typ.Elem())
	case reflect.Slice:
		return leavesOf(pattern+"[]", typ.Elem())
	case reflect.Map:
		return leavesOf(pattern+"{}", typ.Elem())
	case reflect.Struct:
		var leaves []leaf
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			leaves = append(leaves, leavesOf(pattern+"."+name, typ.Field(i).Type)...)
		}
		return leaves
	case reflect.String:
		return []leaf{{pattern, [2]any{"text", "word"}}}
	case reflect.Bool:
		return []leaf{{pattern, [2]any{true, false}}}
	case reflect.Int32, reflect.Int64, reflect.Float64:
		return []leaf{{pattern, [2]any{7, 8}}}
	}
	panic(fmt.Sprintf("%s is of the unknown kind %s", pattern, typ))
}
