package validate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"fairlead.dev/fairlead/internal/message"
)

// unimplemented lists, for each kind, the fields of its source schema on which Fairlead
// does not act yet, in the spelling of docs/compatibility.md: "[]" stands for a list's
// items. What lies below such a field is not implemented either. An object that sets one
// is not accepted. Whoever implements a field removes its line.
var unimplemented = map[string][]string{
	kindVirtualService: {
		"spec.http[].fault.abort.http2Error",
		"spec.http[].fault.delay.exponentialDelay",
		"spec.tcp",
		"spec.tls",
	},
	kindGateway: {
		"spec.servers[].defaultEndpoint",
		"spec.servers[].port.targetPort",
		"spec.servers[].tls.tlsCertificates[].caCertificates",
	},
	kindDestinationRule: slices.Concat(
		policyFields("spec.subsets[].trafficPolicy"),
		policyFields("spec.trafficPolicy"),
		[]string{"spec.workloadSelector"},
	),
}

// policyFields lists those of a traffic policy, at all places where there is one.
func policyFields(policy string) []string {
	var fields []string
	for _, group := range []string{"activeHealthCheck", "connectionPool", "loadBalancer", "outlierDetection"} {
		fields = append(fields, policy+"."+group, policy+".portLevelSettings[]."+group)
	}
	for _, group := range []string{"proxyProtocol", "retryBudget", "tunnel"} {
		fields = append(fields, policy+"."+group)
	}
	for _, name := range []string{
		"caCertificates", "caCrl", "clientCertificate", "credentialName", "insecureSkipVerify", "privateKey", "sni", "subjectAltNames",
	} {
		fields = append(fields, policy+".tls."+name, policy+".portLevelSettings[].tls."+name)
	}
	return fields
}

// tlsModes is which values of the mode are implemented.
const tlsModes = "`DISABLE`, `ISTIO_MUTUAL` and `MESH_MUTUAL`, which is the same. Without, a proxy that has certificates speaks mutual TLS to each endpoint whose proxy has some, too"

// partial lists the fields that are implemented for some values only, with a word on
// which; the others give FL0002 too.
var partial = map[string]map[string]string{
	kindVirtualService: {
		"spec.gateways[]":                "only `mesh`",
		"spec.http[].match[].gateways[]": "only `mesh`",
		"spec.hosts[]":                   "no IP addresses",
	},
	kindGateway: {
		"spec.servers[].bind": "IP addresses; no Unix sockets",
	},
	kindDestinationRule: {
		"spec.host": "no IP addresses",

		"spec.subsets[].trafficPolicy.portLevelSettings[].tls.mode": tlsModes,
		"spec.subsets[].trafficPolicy.tls.mode":                     tlsModes,
		"spec.trafficPolicy.portLevelSettings[].tls.mode":           tlsModes,
		"spec.trafficPolicy.tls.mode":                               tlsModes,
	},
}

// differences says where an implemented field is stricter than, or other than, its source.
var differences = map[string]map[string]string{
	kindVirtualService: {
		"spec.http[].corsPolicy":                 "refused beside `redirect` and `directResponse`, where Envoy, and so Istio, ignores it",
		"spec.http[].delegate":                   "requests for a delegate that does not exist are answered 503; Istio goes on to the next route. Of a delegate's match, everything but the path may say anything beside what the naming match says, and a request has to meet both",
		"spec.http[].fault":                      "`delay.exponentialDelay` and `abort.http2Error` are refused: Envoy cannot; Istio ignores them",
		"spec.http[].mirrors":                    "refused beside `redirect` and `directResponse`, where Istio ignores it, as `mirror` is",
		"spec.http[].headers":                    "`request` is refused beside `redirect` and `directResponse`, where Istio ignores it; a name that begins with `:` is refused, but for `:authority` in `request.set`, which as `host` is another host for the request; `add` and `remove` refuse both",
		"spec.http[].match[].headers":            "the names `uri`, `scheme`, `method` and `authority` are refused; Istio ignores them",
		"spec.http[].match[].ignoreUriCase":      "refused with `uri.regex` and without `uri`, where Istio ignores it",
		"spec.http[].match[].withoutHeaders":     "as `headers`",
		"spec.http[].retries":                    "refused beside `redirect` and `directResponse`, where Istio ignores it; `attempts: 0` excludes the other fields",
		"spec.http[].rewrite.uri":                "where a match says nothing of the path, the whole path is replaced; Istio replaces its leading `/` only. It must begin with `/`",
		"spec.http[].route[].headers":            "another host by `request.set` goes before that of the route; with Istio the route's overrules it",
		"spec.http[].route[].destination.labels": "Fairlead's own: a subset on the spot",
		"spec.http[].timeout":                    "refused beside `redirect` and `directResponse`, where Istio ignores it",
	},
	kindGateway: {
		"spec.servers[].hosts":                 "by HTTPS, a request for a host that the server named in the TLS handshake does not have is answered 421, so that clients which share connections among hosts of one certificate ask again; Istio answers 404",
		"spec.servers[].tls.cipherSuites":      "an unknown one is refused, where Istio ignores it",
		"spec.servers[].tls.credentialName":    "a server whose Secret is missing or unusable is left out until it is there; the others on its port serve",
		"spec.servers[].tls.serverCertificate": "files are read anew when they change",
	},
}

// State says what Fairlead does with a field.
type State string

// The states of a field.
const (
	// Implemented fields do what their documentation says.
	Implemented State = "implemented"
	// Partial fields do so for some values; others give FL0002.
	Partial State = "partly"
	// NotImplemented fields give FL0002.
	NotImplemented State = "not yet"
)

// SupportOf returns the state of a field of a kind, such as "spec.http[].timeout", and for
// a partial one a word on which values it takes.
func SupportOf(kind, field string) (State, string) {
	for _, listed := range unimplemented[kind] {
		if rest, found := strings.CutPrefix(field, listed); found && (rest == "" || rest[0] == '.' || rest[0] == '[' || rest[0] == '{') {
			return NotImplemented, ""
		}
	}
	if note, found := partial[kind][field]; found {
		return Partial, note
	}
	return Implemented, ""
}

// unimplementedFields finds the fields that are set and listed in unimplemented, one
// finding for each.
func (c *checker) unimplementedFields(kind string, spec any) {
	c.walk(unimplemented[kind], reflect.ValueOf(spec), "spec", "spec")
}

// walk visits what is set below a value. The pattern is the value's place in the schema,
// the path its place in the object.
func (c *checker) walk(listed []string, value reflect.Value, pattern, path string) {
	if slices.Contains(listed, pattern) {
		c.add(message.NotImplemented(c.object, path))
		return
	}
	if !slices.ContainsFunc(listed, func(field string) bool { return strings.HasPrefix(field, pattern) }) {
		return
	}
	switch value.Kind() {
	case reflect.Pointer:
		c.walk(listed, value.Elem(), pattern, path)
	case reflect.Slice:
		for i := range value.Len() {
			c.walk(listed, value.Index(i), pattern+"[]", fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Struct:
		for i := range value.NumField() {
			if field := value.Field(i); isSet(field) {
				name := jsonName(value.Type().Field(i))
				c.walk(listed, field, pattern+"."+name, path+"."+name)
			}
		}
	}
}

// isSet reports whether a field says anything: lists and maps when they have entries.
func isSet(value reflect.Value) bool {
	switch value.Kind() {
	case reflect.Slice, reflect.Map:
		return value.Len() > 0
	}
	return !value.IsZero()
}

func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}
