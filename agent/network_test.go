package main

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/test/testenv"
)

// The control plane over the network, which both sides prove themselves to.
var _ = Describe("fairlead-agent proxy with --xds-address", func() {
	const (
		manager  = "spiffe://cluster.local/ns/fairlead-system/sa/fairlead-manager"
		workload = "spiffe://cluster.local/ns/shop/sa/reviews"
	)
	var (
		dir, mount, address string
		authority           *testenv.Authority
		callers             *seen
	)
	mountOne := func() (serial string) {
		GinkgoHelper()
		issued, err := authority.Issue(workload)
		Expect(err).NotTo(HaveOccurred())
		Expect(testenv.MountSecret(mount, issued.Files())).To(Succeed())
		pair, err := tls.X509KeyPair(issued.Chain, issued.Key)
		Expect(err).NotTo(HaveOccurred())
		return pair.Leaf.SerialNumber.Text(16)
	}

	BeforeEach(func() {
		base, err := testenv.SocketDir()
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(os.RemoveAll, base)
		dir, mount = filepath.Join(base, "agent"), filepath.Join(base, "etc-certs")
		authority, err = testenv.NewAuthority("root")
		Expect(err).NotTo(HaveOccurred())
		issued, err := authority.Issue(manager)
		Expect(err).NotTo(HaveOccurred())
		pair, err := tls.X509KeyPair(issued.Chain, issued.Key)
		Expect(err).NotTo(HaveOccurred())
		roots := x509.NewCertPool()
		Expect(roots.AppendCertsFromPEM(authority.Roots)).To(BeTrue())
		callers = &seen{}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		address = listener.Addr().String()
		c := newControlPlane(grpc.Creds(credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
			MinVersion: tls.VersionTLS13, VerifyConnection: callers.note,
		})))
		c.start(listener)
		DeferCleanup(c.stop)
		Expect(c.serve("shop/reviews-v1", "1", toApp("app|9080", "mark"))).To(Succeed())
	})
	start := func(flags ...string) *agentProcess {
		GinkgoHelper()
		return startAgent(dir, append([]string{"--app=9080=127.0.0.1:9", "--xds-address=" + address, "--certs-dir=" + mount}, flags...)...)
	}

	It("waits for its certificate, and then proves itself by it", func() {
		agent := start("--xds-server-name=" + manager)
		Eventually(agent.ready).Within(patience).Should(MatchRegexp(`^503 starting: waiting for a certificate, without which the control plane cannot be reached: .*etc-certs`))
		serial := mountOne()
		agent.becomesReady()
		Expect(callers.all()).To(HaveEach(serial + " " + workload))
	})

	It("follows a new certificate, and a hot restart asks first whether the manager can be reached by it", func() {
		mountOne()
		agent := start("--xds-server-name=" + manager)
		agent.becomesReady()
		serial := mountOne()
		Eventually(agent.Err).Within(patience).Should(gbytes.Say("Envoy serves the certificate.*serial=" + serial))
		agent.Signal(syscall.SIGHUP)
		Eventually(func() envoy.Status { return agent.status().Status }).Within(patience).
			Should(And(HaveField("Epoch", 1), HaveField("State", envoy.Live)))
		Expect(callers.all()).To(ContainElement(serial + " " + workload))
	})

	It("follows a new certificate by a hot restart, if it is told to", func() {
		mountOne()
		agent := start("--xds-server-name="+manager, "--certificate-reload=hotRestart")
		agent.becomesReady()
		serial := mountOne()
		Eventually(func() envoy.Status { return agent.status().Status }).Within(patience).
			Should(And(HaveField("Epoch", 1), HaveField("State", envoy.Live)))
		Expect(agent.status().LastRestart).To(HaveField("Reason", "the certificate changed to serial "+serial))
	})

	It("does not talk to one who is not the manager", func() {
		mountOne()
		agent := start("--xds-server-name=spiffe://cluster.local/ns/shop/sa/somebody-else")
		Eventually(agent.Err).Within(patience).Should(gbytes.Say(`source=envoy`))
		Consistently(agent.ready).Should(HavePrefix("503 starting: "))
		Expect(callers.all()).To(BeEmpty())
	})
})

// seen are the callers whose handshake was finished: serial and identity of each.
type seen struct {
	mu      sync.Mutex
	callers []string
}

func (s *seen) note(state tls.ConnectionState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	leaf := state.PeerCertificates[0]
	s.callers = append(s.callers, leaf.SerialNumber.Text(16)+" "+leaf.URIs[0].String())
	return nil
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.callers...)
}
