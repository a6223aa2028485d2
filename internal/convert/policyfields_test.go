package convert_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// trafficBases are what a traffic policy says where a field below needs something beside it.
var trafficBases = map[string]string{
	"":                                   `{}`,
	"activeHealthCheck":                  `{activeHealthCheck: {protocol: HTTP}}`,
	"activeHealthCheck.service":          `{activeHealthCheck: {protocol: GRPC}, connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}`,
	"connectionPool.http.http2KeepAlive": `{connectionPool: {http: {h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 1s, timeout: 1s}}}}`,
	"connectionPool.http.maxConcurrentStreams":            `{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}`,
	"loadBalancer.consistentHash.httpCookie":              `{loadBalancer: {consistentHash: {httpCookie: {name: a, ttl: 1s}}}}`,
	"loadBalancer.consistentHash.maglev":                  `{loadBalancer: {consistentHash: {httpHeaderName: a}}}`,
	"loadBalancer.consistentHash.minimumRingSize":         `{loadBalancer: {consistentHash: {httpHeaderName: a}}}`,
	"loadBalancer.consistentHash.ringHash":                `{loadBalancer: {consistentHash: {httpHeaderName: a}}}`,
	"loadBalancer.consistentHash.httpCookie.attributes[]": `{loadBalancer: {consistentHash: {httpCookie: {name: a, ttl: 1s, attributes: [{name: a}]}}}}`,
	"loadBalancer.localityLbSetting.distribute[].to":      `{loadBalancer: {localityLbSetting: {distribute: [{from: text}]}}}`,
	"loadBalancer.warmupDurationSecs":                     `{}`,
	"loadBalancer.localityLbSetting":                      `{outlierDetection: {}}`,
	"loadBalancer.localityLbSetting.distribute":           `{loadBalancer: {localityLbSetting: {distribute: [{from: text, to: {word: 100}}]}}}`,
	"loadBalancer.localityLbSetting.failover[]":           `{outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: text, to: word}]}}}`,
	"loadBalancer.warmup":                                 `{loadBalancer: {warmup: {duration: 1s}}}`,
	"loadBalancer.zoneAwareLbSetting.failover[]":          `{loadBalancer: {zoneAwareLbSetting: {failover: [{from: text, to: word}]}}}`,
	"outlierDetection.consecutiveLocalOriginFailures":     `{outlierDetection: {splitExternalLocalOriginErrors: true}}`,
	"tls.caCertificates":                                  `{tls: {mode: SIMPLE}}`,
	"tls.caCrl":                                           `{tls: {mode: SIMPLE}}`,
	"tls.clientCertificate":                               `{tls: {mode: MUTUAL, privateKey: /key}}`,
	"tls.credentialName":                                  `{tls: {mode: SIMPLE}}`,
	"tls.insecureSkipVerify":                              `{tls: {mode: SIMPLE}}`,
	"tls.privateKey":                                      `{tls: {mode: MUTUAL, clientCertificate: /chain}}`,
	"tls.sni":                                             `{tls: {mode: SIMPLE}}`,
	"tls.subjectAltNames":                                 `{tls: {mode: SIMPLE}}`,
	"tunnel":                                              `{tunnel: {targetHost: a, targetPort: 1}}`,
}

// trafficSamples are values where any others would not do.
var trafficSamples = map[string][2]any{
	"activeHealthCheck.by":                               {"HDS", "CALLERS"},
	"activeHealthCheck.path":                             {"/a", "/b"},
	"activeHealthCheck.protocol":                         {"TCP", "GRPC"},
	"connectionPool.http.h2UpgradePolicy":                {"UPGRADE", "DEFAULT"},
	"loadBalancer.consistentHash.maglev.tableSize":       {7, 11},
	"loadBalancer.consistentHash.useSourceIp":            {true, true},
	"loadBalancer.localityLbSetting.distribute[].from":   {"text/*", "word"},
	"loadBalancer.localityLbSetting.distribute[].to{}":   {100, 100},
	"loadBalancer.localityLbSetting.failover[].from":     {"text", "other"},
	"loadBalancer.localityLbSetting.failover[].to":       {"word", "other"},
	"loadBalancer.localityLbSetting.failoverPriority[]":  {"key", "key=other"},
	"loadBalancer.simple":                                {"RANDOM", "ROUND_ROBIN"},
	"loadBalancer.zoneAwareLbSetting.failover[].from":    {"text", "other"},
	"loadBalancer.zoneAwareLbSetting.failover[].to":      {"word", "other"},
	"loadBalancer.zoneAwareLbSetting.failoverPriority[]": {"key", "key=other"},
	"proxyProtocol.version":                              {"V1", "V2"},
	"tls.mode":                                           {"SIMPLE", "MESH_MUTUAL"},
	"tunnel.protocol":                                    {"CONNECT", "POST"},
}

// destinationRuleLeaves has what holds of a traffic policy at all the places where one is.
func destinationRuleLeaves() leafTest {
	test := leafTest{
		kind: convert.KindDestinationRule,
		base: `{host: reviews, subsets: [{name: v1}]}`,
		bases: map[string]string{
			"spec.trafficPolicy.portLevelSettings[].port":           `{host: reviews, trafficPolicy: {portLevelSettings: [{tls: {mode: ISTIO_MUTUAL}}]}}`,
			"spec.subsets[].trafficPolicy.portLevelSettings[].port": `{host: reviews, subsets: [{name: v1, trafficPolicy: {portLevelSettings: [{tls: {mode: ISTIO_MUTUAL}}]}}]}`,
		},
		samples: map[string][2]any{
			"spec.exportTo[]":                     {"*", "prod"},
			"spec.host":                           {"reviews", "ratings"},
			"spec.workloadSelector.matchLabels{}": {"text", "word"},
		},
		sole: map[string]bool{},
		add: func(store *mesh.Store, spec []byte) ([]message.Finding, error) {
			object := &v1alpha1.DestinationRule{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "leaf"}}
			err := yaml.UnmarshalStrict(spec, &object.Spec)
			policy, findings := convert.Policy(object, convert.Options{})
			if policy != nil {
				wideMesh(store)
				store.SetPolicy(policy)
			}
			return findings, err
		},
	}
	for place, form := range map[string]string{
		"spec.trafficPolicy":                               `{host: reviews, trafficPolicy: %s}`,
		"spec.trafficPolicy.portLevelSettings[]":           `{host: reviews, trafficPolicy: {portLevelSettings: [%s]}}`,
		"spec.subsets[].trafficPolicy":                     `{host: reviews, subsets: [{name: v1, trafficPolicy: %s}]}`,
		"spec.subsets[].trafficPolicy.portLevelSettings[]": `{host: reviews, subsets: [{name: v1, trafficPolicy: {portLevelSettings: [%s]}}]}`,
	} {
		for field, base := range trafficBases {
			if place[len(place)-1] == ']' {
				base = "{port: {number: 80}, " + base[1:]
			}
			key := place + "." + field
			if field == "" {
				key = place
			}
			test.bases[key] = fmt.Sprintf(form, base)
			if field == "tls.credentialName" {
				test.bases[key] = "{workloadSelector: {matchLabels: {key: text}}, " + test.bases[key][1:]
			}
		}
		for field, samples := range trafficSamples {
			test.samples[place+"."+field] = samples
		}
		for _, field := range []string{"loadBalancer.consistentHash.useSourceIp", "loadBalancer.localityLbSetting.distribute[].to{}"} {
			test.sole[place+"."+field] = true
		}
	}
	return test
}

func TestEveryFieldOfDestinationRuleActsOrIsRefused(t *testing.T) {
	destinationRuleLeaves().run(t, reflect.TypeFor[v1alpha1.DestinationRuleSpec](), 200)
}

// wideMesh adds endpoints in several places, to the service of the small mesh and to that of
// its caller, and routes to a subset.
func wideMesh(store *mesh.Store) {
	const reviews, front = "reviews.default.svc.cluster.local", "front.default.svc.cluster.local"
	at := func(last byte, region, zone string, workload string) mesh.Endpoint {
		e := mesh.Endpoint{
			Address: netip.AddrFrom4([4]byte{198, 18, 1, last}), PortName: "80", Port: 8080, Ready: true, Serving: true,
			Locality: mesh.Locality{Region: region, Zone: zone},
		}
		if workload != "" {
			e.Workload = mesh.NamespacedName{Namespace: "default", Name: workload}
		}
		return e
	}
	store.SetEndpoints(reviews, "wide", []mesh.Endpoint{
		at(1, "text", "a", ""), at(2, "text", "b", ""), at(3, "text", "b", ""), at(4, "text", "b", ""), at(5, "text", "b", ""),
		at(6, "text", "b", ""), at(7, "text", "b", ""), at(8, "word", "c", ""), at(9, "other", "d", ""),
	})
	store.SetService(&mesh.Service{Host: front, Name: "front", Namespace: "default", Ports: []mesh.ServicePort{{Name: "80", Number: 80, Protocol: mesh.HTTP}}})
	store.SetEndpoints(front, "front", []mesh.Endpoint{at(20, "text", "a", "caller"), at(21, "text", "b", "")})
	to := func(path, subset string, matches ...mesh.HTTPMatch) mesh.HTTPRoute {
		return mesh.HTTPRoute{Path: path, Matches: matches, Destinations: []mesh.Destination{{Host: reviews, Subset: subset, Port: 80}}}
	}
	store.SetRouteTable(&mesh.RouteTable{
		Origin: mesh.Origin{ObjectID: mesh.ObjectID{Kind: convert.KindVirtualService, Namespace: "default", Name: "wide"}},
		Hosts:  []string{reviews},
		HTTP: []mesh.HTTPRoute{
			to("spec.http[0]", "v1", mesh.HTTPMatch{URI: &mesh.StringMatch{Kind: mesh.Prefix, Value: "/v1"}}), to("spec.http[1]", ""),
		},
		TCP: []mesh.ConnectionRoute{{
			Path: "spec.tcp[0]", Matches: []mesh.ConnectionMatch{{Port: 10}}, Destinations: []mesh.Destination{{Host: reviews, Subset: "v1", Port: 10}},
		}},
	})
}
