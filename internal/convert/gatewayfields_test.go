package convert_test

import (
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

const simpleServer = `{servers: [{port: {number: 443, protocol: HTTPS, name: https}, hosts: [text], tls: {mode: SIMPLE, credentialName: text}}]}`

const mutualServer = `{servers: [{port: {number: 443, protocol: HTTPS, name: https}, hosts: [text], tls: {mode: MUTUAL, credentialName: text}}]}`

var gatewayLeaves = leafTest{
	kind: convert.KindGateway,
	base: `{servers: [{port: {number: 80, protocol: HTTP, name: http}, hosts: [text]}]}`,
	bases: map[string]string{
		"spec.servers[].name":                        simpleServer,
		"spec.servers[].tls":                         simpleServer,
		"spec.servers[].tls.httpsRedirect":           `{servers: [{port: {number: 80, protocol: HTTP, name: http}, hosts: [text]}]}`,
		"spec.servers[].tls.serverCertificate":       `{servers: [{port: {number: 443, protocol: HTTPS, name: https}, hosts: [text], tls: {mode: SIMPLE, privateKey: key}}]}`,
		"spec.servers[].tls.privateKey":              `{servers: [{port: {number: 443, protocol: HTTPS, name: https}, hosts: [text], tls: {mode: SIMPLE, serverCertificate: pair}}]}`,
		"spec.servers[].tls.tlsCertificates[]":       `{servers: [{port: {number: 443, protocol: HTTPS, name: https}, hosts: [text], tls: {mode: SIMPLE, tlsCertificates: [{serverCertificate: pair, privateKey: key}]}}]}`,
		"spec.servers[].tls.credentialNames[]":       `{servers: [{port: {number: 443, protocol: HTTPS, name: https}, hosts: [text], tls: {mode: SIMPLE}}]}`,
		"spec.servers[].tls.caCertificates":          mutualServer,
		"spec.servers[].tls.caCrl":                   `{servers: [{port: {number: 443, protocol: HTTPS, name: https}, hosts: [text], tls: {mode: MUTUAL, credentialName: text, caCertificates: roots}}]}`,
		"spec.servers[].tls.caCertCredentialName":    mutualServer,
		"spec.servers[].tls.subjectAltNames[]":       mutualServer,
		"spec.servers[].tls.verifyCertificateSpki[]": mutualServer,
		"spec.servers[].tls.verifyCertificateHash[]": mutualServer,
		"spec.servers[].tls.insecureSkipVerify":      mutualServer,
	},
	samples: map[string][2]any{
		"spec.servers[].port.protocol":               {"HTTP", "TCP"},
		"spec.servers[].bind":                        {"127.0.0.1", "::1"},
		"spec.servers[].tls.mode":                    {"SIMPLE", "OPTIONAL_MUTUAL"},
		"spec.servers[].tls.minProtocolVersion":      {"TLSV1_2", "TLSV1_3"},
		"spec.servers[].tls.maxProtocolVersion":      {"TLSV1_2", "TLSV1_3"},
		"spec.servers[].tls.cipherSuites[]":          {"AES128-SHA", "AES256-SHA"},
		"spec.servers[].tls.verifyCertificateSpki[]": {"NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
		"spec.servers[].tls.verifyCertificateHash[]": {strings.Repeat("0", 64), strings.Repeat("a", 64)},
	},
	atGateway: true,
	// For people.
	without: []string{"spec.servers[].port.name"},
	add: func(store *mesh.Store, spec []byte) ([]message.Finding, error) {
		object := &v1alpha1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "leaf"}}
		err := yaml.UnmarshalStrict(spec, &object.Spec)
		gateway, findings := convert.Gateway(object, convert.Options{})
		if gateway != nil {
			store.SetGateway(gateway)
		}
		store.SetRouteTable(&mesh.RouteTable{
			Origin: mesh.Origin{ObjectID: mesh.ObjectID{Kind: convert.KindVirtualService, Namespace: "default", Name: "bound"}},
			Hosts:  []string{"text", "word"}, Gateways: []string{"default/leaf"},
			HTTP: []mesh.HTTPRoute{{DirectResponse: &mesh.DirectResponse{Status: 200}}},
			TCP:  []mesh.ConnectionRoute{{Destinations: []mesh.Destination{{Host: "reviews.default.svc.cluster.local", Port: 9, Weight: 1}}}},
		})
		return findings, err
	},
}

func TestEveryFieldOfGatewayActsOrIsRefused(t *testing.T) {
	gatewayLeaves.run(t, reflect.TypeFor[v1alpha1.GatewaySpec](), 25)
}
