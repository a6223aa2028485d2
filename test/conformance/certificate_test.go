package conformance

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/test/testenv"
)

// secureNames are those of the certificate that every application shows, besides the identity of
// reviews.
var secureNames = []string{"secure.example", "*.secure.example"}

// makeAuthority makes the one that vouches for all.
func (s *stage) makeAuthority() (err error) {
	if s.authority, err = testenv.NewAuthority("conformance"); err != nil {
		return err
	}
	return os.WriteFile(s.rootsFile(), s.authority.Roots, 0o600)
}

// rootsFile is where proxies find the root of all certificates.
func (s *stage) rootsFile() string { return filepath.Join(s.dir, "roots.pem") }

// certify puts a certificate where a proxy looks for the mesh's.
func (s *stage) certify(folder, identity string) error {
	credentials, err := s.authority.Issue(identity)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	given := certs.New(certs.Options{Dir: folder, Log: slog.New(slog.DiscardHandler), Changed: func(certs.Certificate) {}, Refused: func(error) {}})
	if err := given.Prepare(); err != nil {
		return err
	}
	return given.Give(credentials.Key, credentials.Chain, credentials.Roots)
}

// serverTLS is an application's. It asks callers for a certificate and takes whoever has none.
func (s *scene) serverTLS() *tls.Config {
	s.Helper()
	credentials := s.issue(testenv.Named(append(secureNames, "spiffe://cluster.local/ns/"+s.namespace+"/sa/reviews")...))
	config, err := credentials.MutualTLS(s.stage.authority.Roots)
	s.Expect(err).NotTo(HaveOccurred())
	config.ClientAuth = tls.VerifyClientCertIfGiven
	return config
}

// issue makes a certificate that everybody here trusts.
func (s *scene) issue(changes ...func(*x509.Certificate)) testenv.Credentials {
	s.Helper()
	credentials, err := s.stage.authority.Issue("spiffe://cluster.local/ns/outside/sa/secure", changes...)
	s.Expect(err).NotTo(HaveOccurred())
	return credentials
}

// clientTLS is a client's that trusts everybody here and has no certificate.
func (s *scene) clientTLS(serverName string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.stage.authority.Roots)
	return &tls.Config{RootCAs: pool, ServerName: serverName}
}
