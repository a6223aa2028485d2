package chaos

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/test/testenv"
)

// secured is a workload whose listeners take mutual TLS only, with a certificate that the
// test mounts.
type secured struct {
	*workload
	s *scene
	// authorities sign in turn, so that roots change too. Callers trust both.
	authorities [2]*testenv.Authority
	mount       string
	client      *tls.Config
	issued      int
}

func secure(s *scene) *secured {
	s.t.Helper()
	c := &secured{s: s, mount: filepath.Join(s.dir, "mount")}
	roots := x509.NewCertPool()
	for i := range c.authorities {
		authority, err := testenv.NewAuthority(fmt.Sprint("root ", i))
		s.g.Expect(err).NotTo(HaveOccurred())
		s.g.Expect(roots.AppendCertsFromPEM(authority.Roots)).To(BeTrue())
		c.authorities[i] = authority
	}
	caller, err := c.authorities[0].Issue("spiffe://cluster.local/ns/shop/sa/caller")
	s.g.Expect(err).NotTo(HaveOccurred())
	pair, err := tls.X509KeyPair(caller.Chain, caller.Key)
	s.g.Expect(err).NotTo(HaveOccurred())
	c.client = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}

	c.workload = s.add("reviews")
	s.change = func(w *workload, listener *listenerv3.Listener) {
		if port := listener.GetAddress().GetSocketAddress().GetPortValue(); port != httpPort && port != grpcPort {
			return
		}
		listener.FilterChains[0].TransportSocket = mutualTLS(s, w.dir)
	}
	s.serve()
	return c
}

// mutualTLS is what the agent's folder of certificates is for.
func mutualTLS(s *scene, dir string) *corev3.TransportSocket {
	s.t.Helper()
	paths := certs.PathsIn(dir)
	secret := func(name, path string) *tlsv3.SdsSecretConfig {
		return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: &corev3.ConfigSource{
			ResourceApiVersion: corev3.ApiVersion_V3,
			ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{
				Path: path, WatchedDirectory: &corev3.WatchedDirectory{Path: paths.Folder},
			}},
		}}
	}
	packed, err := anypb.New(&tlsv3.DownstreamTlsContext{
		RequireClientCertificate: wrapperspb.Bool(true),
		CommonTlsContext: &tlsv3.CommonTlsContext{
			AlpnProtocols:                  []string{"h2", "http/1.1"},
			TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{secret(certs.CertificateSecret, paths.CertificateSDS)},
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
				ValidationContextSdsSecretConfig: secret(certs.RootsSecret, paths.RootsSDS),
			},
		},
	})
	s.g.Expect(err).NotTo(HaveOccurred())
	return &corev3.TransportSocket{Name: "envoy.transport_sockets.tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed}}
}

// issue makes the next certificate. Its roots are those of both authorities.
func (c *secured) issue() (testenv.Credentials, *big.Int) {
	c.s.t.Helper()
	c.issued++
	serial := big.NewInt(int64(1000 + c.issued))
	signer := c.authorities[c.issued%2]
	credentials, err := signer.Issue("spiffe://cluster.local/ns/shop/sa/reviews", func(template *x509.Certificate) {
		template.SerialNumber = serial
		template.IPAddresses = []net.IP{net.ParseIP(c.host)}
	})
	c.s.g.Expect(err).NotTo(HaveOccurred())
	return credentials.With(c.authorities[(c.issued+1)%2]), serial
}

// served is the serial number that a new connection sees.
func (c *secured) served() (int64, error) {
	connection, err := tls.Dial("tcp", c.at(httpPort), c.client)
	if err != nil {
		return 0, err
	}
	defer func() { _ = connection.Close() }()
	return connection.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

func (c *secured) serves(serial *big.Int) time.Duration {
	c.s.t.Helper()
	since := time.Now()
	c.s.g.Eventually(c.served).Within(patience).ProbeEvery(10*time.Millisecond).Should(Equal(serial.Int64()), "new connections see the new certificate")
	return time.Since(since)
}

// load is all but TCP, which carries no TLS of the proxy's here.
func (c *secured) load() {
	c.s.t.Helper()
	to := c.target()
	to.tls, to.tcp = c.client, ""
	c.s.under(to)
}

func certificateChanges(s *scene) {
	c := secure(s)
	credentials, serial := c.issue()
	s.g.Expect(testenv.MountSecret(c.mount, credentials.Files())).To(Succeed())
	c.start("--certs-dir=" + c.mount)
	c.serves(serial)
	pid := c.envoyPID()
	c.load()
	var took []time.Duration
	for range s.times {
		credentials, serial := c.issue()
		s.g.Expect(testenv.MountSecret(c.mount, credentials.Files())).To(Succeed())
		took = append(took, c.serves(serial))
		s.load.flows(20)
	}
	s.g.Expect(c.envoyPID()).To(Equal(pid), "nothing was restarted")
	slices.Sort(took)
	s.saw("from the mount to new connections seeing it: median %s, longest %s; no restart",
		took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
}

// certificateRestarts is the historic behaviour, for those who ask for it.
func certificateRestarts(s *scene) {
	c := secure(s)
	credentials, serial := c.issue()
	s.g.Expect(testenv.MountSecret(c.mount, credentials.Files())).To(Succeed())
	c.start("--certs-dir="+c.mount, "--certificate-reload=hotRestart")
	c.serves(serial)
	c.load()
	for n := range s.times {
		before := c.envoyPID()
		credentials, serial := c.issue()
		s.g.Expect(testenv.MountSecret(c.mount, credentials.Files())).To(Succeed())
		c.epoch(n + 1)
		c.serves(serial)
		c.gone(before, "the predecessor ends")
	}
	s.saw("a hot restart for each")
}

// halfWritten leaves the mounted files in states that belong together no more.
func halfWritten(s *scene) {
	c := secure(s)
	credentials, serial := c.issue()
	write := func(name string, content []byte) {
		s.t.Helper()
		s.g.Expect(os.WriteFile(filepath.Join(c.mount, name), content, 0o600)).To(Succeed())
	}
	s.g.Expect(os.Mkdir(c.mount, 0o700)).To(Succeed())
	for name, content := range credentials.Files() {
		write(name, content)
	}
	c.start("--certs-dir=" + c.mount)
	c.serves(serial)
	c.load()
	next, nextSerial := c.issue()
	states := []struct {
		what string
		make func()
	}{
		{"the chain is the new one, the key still the old one", func() { write(certs.ChainFile, next.Chain) }},
		{"half of the key", func() { write(certs.KeyFile, next.Key[:len(next.Key)/2]) }},
		{"no key", func() { s.g.Expect(os.Remove(filepath.Join(c.mount, certs.KeyFile))).To(Succeed()) }},
		{"an empty key", func() { write(certs.KeyFile, nil) }},
		{"half of the chain", func() { write(certs.ChainFile, next.Chain[:len(next.Chain)/2]); write(certs.KeyFile, next.Key) }},
		{"roots that are none", func() { write(certs.RootsFile, []byte("nothing")); write(certs.ChainFile, next.Chain) }},
	}
	told := ""
	for _, state := range states {
		state.make()
		s.g.Eventually(c.complaint).Within(patience).Should(And(Not(BeEmpty()), Not(Equal(told))), "/status tells that %s", state.what)
		told, _ = c.complaint()
		s.load.flows(5)
		s.g.Expect(c.served()).To(Equal(serial.Int64()), state.what)
	}
	write(certs.RootsFile, next.Roots)
	c.serves(nextSerial)
	s.g.Eventually(c.complaint).Within(patience).Should(BeEmpty(), "there is nothing to complain of any more")
	s.saw("%d states of half-written files, each told in /status, the old certificate served; the whole set was taken then", len(states))
}
