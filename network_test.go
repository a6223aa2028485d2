package main

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/xds"
)

// agentsPod is the agent of a Pod, as far as the manager sees it, with what the Pod has: a
// token, and the roots by which it knows the manager.
type agentsPod struct {
	*testing.T
	g            *WithT
	token, roots string
}

func agentOf(t *testing.T, kubectl func(...string) string) *agentsPod {
	t.Helper()
	a := &agentsPod{T: t, g: NewWithT(t)}
	kubectl("create", "serviceaccount", "reviews")
	kubectl("run", "reviews-1", "--image=reviews", `--overrides={"spec": {"serviceAccountName": "reviews"}}`)
	kubectl("patch", "pod", "reviews-1", "--subresource=status", `--patch={"status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}}`)
	kubectl("wait", "--namespace=fairlead-system", "--for=create", "configmap/fairlead-trust", "--timeout=30s")
	a.roots = kubectl("get", "--namespace=fairlead-system", "configmap/fairlead-trust", `-o=jsonpath={.data.root-cert\.pem}`)
	a.token = strings.TrimSpace(kubectl("create", "token", "reviews", "--audience=fairlead", "--bound-object-kind=Pod", "--bound-object-name=reviews-1"))
	return a
}

// joins gets a certificate by the token and then Envoy's configuration by the certificate.
func (a *agentsPod) joins(address string) {
	a.Helper()
	key, err := pki.ECDSAP256.NewKey()
	a.g.Expect(err).NotTo(HaveOccurred())
	csr, err := pki.NewCSR(key, pki.Request{})
	a.g.Expect(err).NotTo(HaveOccurred())

	first := a.dial(address, nil)
	stream, err := first.NewStream(metadata.AppendToOutgoingContext(a.Context(), "authorization", "Bearer "+a.token),
		&grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/fairlead.agent.v1.Agents/Connect", grpc.WaitForReady(true))
	a.g.Expect(err).NotTo(HaveOccurred())
	for _, message := range []*agentapi.FromAgent{
		{Message: &agentapi.FromAgent_Hello{Hello: &agentapi.Hello{Node: "default/reviews-1", WantsCertificates: true}}},
		{Message: &agentapi.FromAgent_SigningRequest{SigningRequest: &agentapi.SigningRequest{Csr: csr}}},
	} {
		a.g.Expect(stream.SendMsg(message)).To(Succeed())
	}
	answer := &agentapi.FromManager{}
	for answer.GetIssued() == nil {
		answer.Reset()
		a.g.Expect(stream.RecvMsg(answer)).To(Succeed())
		a.g.Expect(answer.GetRefused()).To(BeNil())
	}
	encoded, err := pki.EncodeKey(key)
	a.g.Expect(err).NotTo(HaveOccurred())
	pair, err := tls.X509KeyPair(answer.GetIssued().GetChain(), encoded)
	a.g.Expect(err).NotTo(HaveOccurred())
	a.g.Expect(pki.IdentityOf(pair.Leaf)).To(Equal(pki.Identity{TrustDomain: "cluster.local", Namespace: "default", ServiceAccount: "reviews"}))

	aggregated := discovery.NewAggregatedDiscoveryServiceClient(a.dial(address, &pair))
	// The agent's token said that there is such a Pod; the manager may hear of it later.
	var response *discovery.DeltaDiscoveryResponse
	a.g.Eventually(func() error {
		proxy, err := aggregated.DeltaAggregatedResources(a.Context())
		if err != nil {
			return err
		}
		request := &discovery.DeltaDiscoveryRequest{
			Node: &corev3.Node{Id: "default/reviews-1"}, TypeUrl: xds.ListenerType, ResourceNamesSubscribe: []string{"*"},
		}
		if err := proxy.Send(request); err != nil {
			return err
		}
		response, err = proxy.Recv()
		return err
	}).Should(Succeed(), "the proxy is served")
	a.g.Expect(response.GetResources()).NotTo(BeEmpty(), "listeners of the Pod")
}

// dial connects to the manager, which has to be the manager by the roots that are told.
func (a *agentsPod) dial(address string, own *tls.Certificate) *grpc.ClientConn {
	a.Helper()
	config := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, VerifyConnection: func(state tls.ConnectionState) error {
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(a.roots))
		for _, c := range state.PeerCertificates[1:] {
			between.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		a.g.Expect(pki.IdentityOf(state.PeerCertificates[0])).To(HaveField("String()", "spiffe://cluster.local/ns/fairlead-system/sa/fairlead-manager"))
		return err
	}}
	if own != nil {
		config.Certificates = []tls.Certificate{*own}
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	a.g.Expect(err).NotTo(HaveOccurred())
	a.Cleanup(func() { _ = connection.Close() })
	return connection
}
