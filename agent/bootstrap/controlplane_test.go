package bootstrap_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/test/testenv"
)

// manager accepts TLS connections of an authority's workloads, and hands over what each
// handshake gave.
func manager(t *testing.T, a *testenv.Authority, names ...string) (port string, handshakes <-chan handshake) {
	t.Helper()
	config := mutualTLS(t, a, names...)
	config.MinVersion, config.NextProtos = tls.VersionTLS12, []string{"http/1.1", "h2"}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan handshake, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_ = connection.SetDeadline(time.Now().Add(patience))
			err = connection.(*tls.Conn).Handshake()
			seen <- handshake{connection.(*tls.Conn).ConnectionState(), err}
			_ = connection.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	_, port, err = net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, seen
}

type handshake struct {
	tls.ConnectionState
	err error
}

func TestEnvoyAndTheManagerKnowEachOther(t *testing.T) {
	const identity = "spiffe://cluster.local/ns/fairlead-system/sa/manager"
	for _, test := range []struct {
		about, host, serverName string
		names                   []string
		sni                     string
		refused                 bool
	}{
		{"an address, the default name", "127.0.0.1", "", []string{"127.0.0.1"}, "", false},
		{"an address and a name", "127.0.0.1", "manager.example", []string{"manager.example"}, "manager.example", false},
		{"a host and its name", "localhost", "", []string{"localhost"}, "localhost", false},
		{"a host and an identity", "localhost", identity, []string{identity}, "localhost", false},
		{"another name", "127.0.0.1", "manager.example", []string{"other.example"}, "manager.example", true},
		{"another identity", "127.0.0.1", identity, []string{identity + "-2"}, "", true},
		{"a name in place of an identity", "localhost", identity, []string{"localhost"}, "localhost", true},
	} {
		t.Run(test.about, func(t *testing.T) {
			dir := agentDir(t)
			a := newAuthority(t)
			putCertificate(t, dir, a)
			port, handshakes := manager(t, a, test.names...)
			config := least()
			config.XDSSocket, config.XDSAddress, config.XDSServerName = "", net.JoinHostPort(test.host, port), test.serverName
			config.CertsDir, config.DNSFamily = filepath.Join(dir, "certs"), bootstrap.DNSv4
			config.AdminSocket = filepath.Join(dir, "admin.sock")
			content, err := bootstrap.Build(config)
			if err != nil {
				t.Fatal(err)
			}
			runEnvoy(t, dir, content)

			select {
			case got := <-handshakes:
				if test.refused {
					if got.err == nil || !strings.Contains(got.err.Error(), "unknown certificate") {
						t.Errorf("Envoy did not refuse the certificate: %v", got.err)
					}
					return
				}
				if got.err != nil {
					t.Fatal(got.err)
				}
				if got.Version != tls.VersionTLS13 || got.NegotiatedProtocol != "h2" || got.ServerName != test.sni {
					t.Errorf("TLS %#x, protocol %q, server name %q", got.Version, got.NegotiatedProtocol, got.ServerName)
				}
				if uri := got.PeerCertificates[0].URIs[0].String(); uri != "spiffe://cluster.local/ns/shop/sa/reviews" {
					t.Errorf("Envoy is %s", uri)
				}
			case <-time.After(patience):
				t.Fatal("Envoy did not come")
			}
		})
	}
}

// The agent proves by a handshake that Envoy has taken a renewed certificate.
func TestTheProofListenerShowsTheCertificate(t *testing.T) {
	dir := agentDir(t)
	a := newAuthority(t)
	putCertificate(t, dir, a)
	config := least()
	config.CertsDir, config.ProofSocket = filepath.Join(dir, "certs"), filepath.Join(dir, "proof.sock")
	get := runEnvoy(t, dir, built(t, dir, config, nil, nil))
	eventually(t, "Envoy is live", func() (string, error) { return get("/ready") }, "LIVE")

	asking := mutualTLS(t, a, reviews)
	// An identity is no name that Go checks.
	asking.InsecureSkipVerify = true
	connection, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "unix", config.ProofSocket, asking)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	if uri := connection.ConnectionState().PeerCertificates[0].URIs[0].String(); uri != "spiffe://cluster.local/ns/shop/sa/reviews" {
		t.Errorf("it shows %s", uri)
	}
	// What tells of certificates that peers do not take.
	eventually(t, "statistics", func() (string, error) { return get("/stats/prometheus") },
		`envoy_listener_ssl_connection_error{listener="proof"} 0`, `envoy_listener_ssl_fail_verify_error{listener="proof"} 0`)
}

func TestDNS(t *testing.T) {
	for family, want := range map[bootstrap.DNSFamily]string{
		"": "AUTO", bootstrap.DNSAuto: "AUTO", bootstrap.DNSv4: "V4_ONLY", bootstrap.DNSv6: "V6_ONLY", bootstrap.DNSAll: "ALL",
	} {
		config := least()
		config.XDSSocket, config.XDSAddress, config.CertsDir, config.DNSFamily = "", "manager.system.:15010", "/run/agent/certs", family
		content, err := bootstrap.Build(config)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{
			`"dns_lookup_family": "` + want + `"`,
			// The dot is for the resolver only.
			`"address": "manager.system."`, `"sni": "manager.system"`, `"exact": "manager.system"`,
		} {
			if !bytes.Contains(content, []byte(part)) {
				t.Errorf("%q does not become %s:\n%s", family, part, content)
			}
		}
		validate(t, content)
	}
}
