package agents

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"fairlead.dev/fairlead/internal/pki"
)

// AskingTLS is for a server whose callers Authenticate judges: it takes any certificate, and
// none. A handshake that fails tells neither side why, and an agent whose certificate has
// expired could not come back by its token. Serving is that of pki.Serving.
func AskingTLS(serving *tls.Config) *tls.Config {
	asking := serving.Clone()
	asking.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		config, err := serving.GetConfigForClient(hello)
		if err != nil {
			return nil, err
		}
		config = config.Clone()
		config.ClientAuth = tls.RequestClientCert
		return config, nil
	}
	return asking
}

// CallingTLS is for calls to a server of the given identity, with the same certificate and
// roots that serving has.
func CallingTLS(serving *tls.Config, server pki.Identity) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Go would verify a name and fixed roots; VerifyConnection verifies an identity.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			own, err := serving.GetConfigForClient(nil)
			if err != nil {
				return err
			}
			if _, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
				Roots: own.ClientCAs, Intermediates: pki.Pool(state.PeerCertificates[1:]), CurrentTime: own.Time(),
			}); err != nil {
				return err
			}
			found, err := pki.IdentityOf(state.PeerCertificates[0])
			if err == nil && found != server {
				err = fmt.Errorf("the server is %s and not %s", found, server)
			}
			return err
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			own, err := serving.GetConfigForClient(nil)
			if err != nil {
				return nil, err
			}
			return &own.Certificates[0], nil
		},
	}
}
