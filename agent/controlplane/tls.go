package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// secure makes the handshake that Envoy makes: TLS 1.3, ALPN h2, our certificate, and
// theirs by our roots and by its name.
func (t Target) secure(ctx context.Context, connection net.Conn) (net.Conn, error) {
	config, err := t.config()
	if err != nil {
		return nil, err
	}
	secured := tls.Client(connection, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, t.explainHandshake(ctx, err)
	}
	if secured.ConnectionState().NegotiatedProtocol != "h2" {
		return nil, fmt.Errorf("what listens at %s does not speak HTTP/2: correct --xds-address", t)
	}
	return secured, nil
}

func (t Target) config() (*tls.Config, error) {
	config := &tls.Config{ServerName: t.name(), MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}
	if t.Certificate != "" {
		own, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
		if err != nil {
			return nil, fmt.Errorf("read the agent's certificate %s: %w", t.Certificate, err)
		}
		config.Certificates = []tls.Certificate{own}
	}
	roots, err := t.pool()
	if err != nil {
		return nil, err
	}
	config.RootCAs = roots
	if strings.Contains(t.ServerName, "://") {
		// Go checks names and addresses only.
		config.ServerName, config.InsecureSkipVerify = t.host(), true
		config.VerifyConnection = func(state tls.ConnectionState) error { return verifyIdentity(state, roots, t.ServerName) }
	}
	return config, nil
}

// pool holds the roots of all files that are there.
func (t Target) pool() (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	var problems []error
	for _, file := range t.Roots {
		content, err := os.ReadFile(file)
		if err == nil && !roots.AppendCertsFromPEM(content) {
			err = fmt.Errorf("there is no certificate in %s", file)
		}
		if err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) == len(t.Roots) {
		return nil, fmt.Errorf("read the roots: %w", errors.Join(problems...))
	}
	return roots, nil
}

// name is what the manager's certificate must have.
func (t Target) name() string {
	if t.ServerName != "" {
		return t.ServerName
	}
	return t.host()
}

// host is without the root's dot, which certificates do not have.
func (t Target) host() string {
	host, _, _ := net.SplitHostPort(t.Address)
	return strings.TrimSuffix(host, ".")
}

// verifyIdentity does what Go does for names and addresses.
func verifyIdentity(state tls.ConnectionState, roots *x509.CertPool, wanted string) error {
	leaf := state.PeerCertificates[0]
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	// The zero value of KeyUsages asks for a server's.
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates}); err != nil {
		return err
	}
	for _, uri := range leaf.URIs {
		if uri.String() == wanted {
			return nil
		}
	}
	return x509.HostnameError{Certificate: leaf, Host: wanted}
}

// names are all that a certificate is for.
func names(certificate *x509.Certificate) []string {
	found := append([]string(nil), certificate.DNSNames...)
	for _, address := range certificate.IPAddresses {
		found = append(found, address.String())
	}
	for _, uri := range certificate.URIs {
		found = append(found, uri.String())
	}
	if len(found) == 0 {
		found = []string{"nobody"}
	}
	return found
}

func (t Target) explainHandshake(ctx context.Context, err error) error {
	var (
		hostname  x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &hostname):
		return fmt.Errorf("the manager's certificate at %s is for %s and not for %s: correct --xds-address or --xds-server-name",
			t, strings.Join(names(hostname.Certificate), ", "), t.name())
	case errors.As(err, &authority):
		return fmt.Errorf("the manager's certificate at %s is of no root in %s: see whether this is another mesh's manager, or whether the roots are old",
			t, strings.Join(t.Roots, ", "))
	case errors.As(err, &invalid):
		return fmt.Errorf("the manager's certificate at %s is not valid (%w): renew it, or see whether this machine's clock is right", t, err)
	case errors.As(err, &record):
		return fmt.Errorf("what listens at %s does not speak TLS: correct --xds-address", t)
	case IsAlert(err):
		return fmt.Errorf("the manager at %s refuses the handshake (%w): see its log", t, err)
	default:
		return t.Explain(ctx, err)
	}
}

// IsAlert tells whether the other side refused the handshake, with a reason.
func IsAlert(err error) bool {
	var operation *net.OpError
	return errors.As(err, &operation) && operation.Op == "remote error"
}
