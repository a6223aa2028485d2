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
	},
	kindServiceEntry: {"spec.endpoints[].network"},
	kindGateway: {
		"spec.servers[].defaultEndpoint",
		"spec.servers[].port.targetPort",
		"spec.servers[].tls.tlsCertificates[].caCertificates",
	},
	kindRouteRule: {
		"spec.destination.labels", // of a destination, historically they had to be empty
		"spec.route[].destination.labels",
		"spec.httpFault.abort.http2Error",
		"spec.httpFault.abort.overrideHeaderName",
		"spec.httpFault.delay.exponentialDelay",
		"spec.httpFault.delay.overrideHeaderName",
		"spec.httpReqRetries.simpleRetry.overrideHeaderName",
		"spec.httpReqTimeout.simpleTimeout.overrideHeaderName",
		"spec.l4Fault.terminate",
		"spec.l4Fault.throttle.throttleAfterBytes",
		"spec.l4Fault.throttle.throttleAfterPeriod",
		"spec.l4Fault.throttle.throttleForPeriod",
		"spec.l4Fault.throttle.upstreamLimitBps",
		"spec.match.tcp",
		"spec.match.udp",
	},
}

// partial lists the fields that are implemented for some values only, with a word on
// which; the others give FL0002 too.
var partial = map[string]map[string]string{
	kindVirtualService: {
		"spec.hosts[]": "no IP addresses",
	},
	kindServiceEntry: {
		"spec.ports[].protocol": "no `UDP`",
		"spec.resolution":       "no `DYNAMIC_DNS`",
	},
	kindGateway: {
		"spec.servers[].bind": "IP addresses; no Unix sockets",
	},
	kindDestinationRule: {
		"spec.host": "no IP addresses",
	},
}

// differences says where an implemented field is stricter than, or other than, its source.
var differences = map[string]map[string]string{
	kindRouteRule: {
		"spec.corsPolicy":            "has the fields of a VirtualService's, too",
		"spec.destination":           "wildcards in `service` are refused",
		"spec.httpFault":             "without `percent` all requests are meant; historically none were. Envoy has no `exponentialDelay`, no `http2Error`, and no names of headers of one's own",
		"spec.httpReqTimeout":        "without, there is no limit; historically it was 15 seconds. `customTimeout` and, among retries, `customRetry` are unknown",
		"spec.l4Fault":               "acts on answers to requests; `throttle.downstreamLimitBps` is all that Envoy can do",
		"spec.match.request.headers": "regular expressions are RE2; historically ECMAScript",
		"spec.route":                 "applies to ports of HTTP. Weights are shares of their sum, which need not be 100",
		"spec.websocketUpgrade":      "without, upgrades are let through, as a VirtualService does",
	},
	kindServiceEntry: {
		"spec.addresses":                  "a range tells connections that are neither HTTP nor TLS; those are told by the host, in whatever range the address is. A proxy that is called by address needs none",
		"spec.endpoints[].serviceAccount": "acts where the endpoint has the label `mesh.fairlead.dev/tlsMode: mutual`, which is Istio's `security.istio.io/tlsMode: istio`",
		"spec.hosts":                      "of two entries with one host, the caller's namespace has its own, and else the older is used; Istio merges them. A host of a Service stays the Service's",
		"spec.ports[].protocol":           "`GRPC-WEB` is carried as HTTP/1.1; Istio has its proxies translate it to gRPC",
		"spec.resolution":                 "`NONE` for a proxy that is called by address means the address that the name has",
		"spec.workloadSelector":           "selects Pods; there is no WorkloadEntry",
	},
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
		"spec.http[].match[].sourceLabels":       "a match with it takes nothing at a gateway, which does not know who calls; Istio compares the gateway's own labels there. The same holds for `sourceNamespace`, and for `tcp` and `tls`",
		"spec.tls[].match[].sniHosts":            "the most exact name wins, whatever the order, as in Istio",
		"spec.tcp[].match[].destinationSubnets":  "who calls a proxy by address names a host: of one without an address no call has a destination. The same holds for `tls`",
		"spec.http[].timeout":                    "refused beside `redirect` and `directResponse`, where Istio ignores it",
	},
	kindDestinationRule: {
		"spec.host":             "of several objects for one host, one namespace and the same selector the oldest is used and the others say so, where Istio merges them",
		"spec.workloadSelector": "selects in the object's own namespace only, as in Istio; without labels it is refused",

		"spec.trafficPolicy.activeHealthCheck":                                 "Fairlead's own: proxies ask each endpoint how it is",
		"spec.trafficPolicy.activeHealthCheck.by":                              "by `HDS` three proxies ask for all callers: any that each replica of the manager is connected with. What most of them found, callers are told",
		"spec.trafficPolicy.connectionPool.http.h2UpgradePolicy":               "there is no setting of the mesh: `DEFAULT` upgrades nothing",
		"spec.trafficPolicy.connectionPool.tcp.idleTimeout":                    "unset, connections that carry bytes may be idle for ever; Istio ends them after an hour",
		"spec.trafficPolicy.loadBalancer.consistentHash":                       "without an algorithm it is Maglev, where Istio has a ring: of a ring up to two of n keys move when one of n endpoints goes",
		"spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.attributes": "refused without `ttl`, as is `path`: the proxy makes no cookie then",
		"spec.trafficPolicy.loadBalancer.localityLbSetting.failover":           "takes effect with `activeHealthCheck` too",
		"spec.trafficPolicy.loadBalancer.simple":                               "`PASSTHROUGH` leaves the choice to the proxy where a workload calls its proxy by address",
		"spec.trafficPolicy.loadBalancer.zoneAwareLbSetting":                   "on unless `enabled` is false; shares are reckoned by the control plane, from the endpoints of the first service that the caller serves, so that proxies need no setting for it",
		"spec.trafficPolicy.outlierDetection.maxEjectionPercent":               "unset, one endpoint may always be taken out, however few there are",
		"spec.trafficPolicy.tls":                                               "a field that has no meaning in the mode given is refused, where Istio ignores it",
		"spec.trafficPolicy.tls.credentialName":                                "served to gateways, and to others by a policy with `workloadSelector`; for all others calls fail, where Istio makes them without. The Secret has `ca.crt` beside the certificate; there is no second one with `-cacert`",
		"spec.trafficPolicy.tls.caCertificates":                                "unset, those of the proxy's machine, which its agent looks for where distributions keep them",
		"spec.trafficPolicy.tls.subjectAltNames":                               "unset, the server must have the name that `sni` says; Istio takes any then",
		"spec.trafficPolicy.tls.sni":                                           "unset, and where bytes are carried, the policy's host; Istio sends none then",
		"spec.trafficPolicy.tunnel":                                            "applies where bytes are carried, as in Istio",
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
