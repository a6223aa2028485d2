package translate

import (
	"cmp"
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// serverSocket is the transport socket of a server that ends TLS, nil where what it needs is
// not there: such a server is left out, and the others on its port serve.
func (b *build) serverSocket(s gatewayServer) *corev3.TransportSocket {
	if s.TLS.Mesh {
		if !b.unit.Certified {
			b.find(message.CredentialUnusable(s.gateway.Origin.ObjectID, s.Path+".tls.mode", "certificate of the mesh", "the gateway's proxy has none"))
			return nil
		}
		return transportSocket(b.meshServer())
	}
	common := &tlsv3.CommonTlsContext{TlsParams: &tlsv3.TlsParameters{
		TlsMinimumProtocolVersion: tlsv3.TlsParameters_TlsProtocol(tlsv3.TlsParameters_TlsProtocol_value[s.TLS.Min]),
		TlsMaximumProtocolVersion: tlsv3.TlsParameters_TlsProtocol(tlsv3.TlsParameters_TlsProtocol_value[s.TLS.Max]),
		CipherSuites:              s.TLS.Ciphers,
	}}
	if s.Protocol == mesh.ServerHTTP {
		common.AlpnProtocols = []string{"h2", "http/1.1"}
	}
	for _, name := range b.certificatesOf(s) {
		common.TlsCertificateSdsSecretConfigs = append(common.TlsCertificateSdsSecretConfigs, b.secretFrom(name))
	}
	if len(common.TlsCertificateSdsSecretConfigs) == 0 {
		return nil
	}
	if s.TLS.AsksClient {
		roots := b.rootsOf(s)
		if roots == "" {
			return nil
		}
		common.ValidationContextType = rootsFrom(clientChecks(s.TLS), b.secretFrom(roots))
	}
	return transportSocket(&tlsv3.DownstreamTlsContext{
		CommonTlsContext: common, RequireClientCertificate: wrapperspb.Bool(s.TLS.RequiresClient),
	})
}

// clientChecks is what is asked of a client's certificate besides who vouches for it.
func clientChecks(tls *mesh.ServerTLS) *tlsv3.CertificateValidationContext {
	checks := &tlsv3.CertificateValidationContext{
		VerifyCertificateSpki: tls.SPKI, VerifyCertificateHash: tls.Hashes, MatchTypedSubjectAltNames: subjectAltNames(tls.SubjectAltNames),
	}
	if tls.AcceptUntrusted {
		checks.TrustChainVerification = tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED
	}
	return checks
}

// secretFrom refers to a secret that is served like everything else.
func (b *build) secretFrom(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: b.configSource()}
}

// certificatesOf returns the names of the secrets that have a server's certificates, and serves
// these. What is not known yet is waited for by the proxy.
func (b *build) certificatesOf(s gatewayServer) []string {
	var names []string
	for i, files := range s.TLS.Files {
		name := fmt.Sprintf("files|%s|%d", s.id(), i)
		b.addSecret(name, s, certificate(file(files.Certificate), file(files.Key), nil))
		names = append(names, name)
	}
	for _, secret := range s.TLS.Credentials {
		name, credential := b.credential(secret)
		if credential != nil {
			b.findProblem(s, "credentialName", credential)
			if len(credential.Certificate) == 0 {
				continue
			}
			b.addSecret(name, s, certificate(inline(credential.Certificate), inline(credential.Key), inline(credential.Staple)))
		}
		names = append(names, name)
	}
	return names
}

// rootsOf returns the name of the secret by which clients' certificates are checked, and serves it.
func (b *build) rootsOf(s gatewayServer) string {
	if s.TLS.RootsFile != "" {
		name := "files|" + s.id() + "|roots"
		var revoked *corev3.DataSource
		if s.TLS.RevokedFile != "" {
			revoked = file(s.TLS.RevokedFile)
		}
		b.addSecret(name, s, roots(file(s.TLS.RootsFile), revoked))
		return name
	}
	// The Secret that has them alone goes before the one of the certificate.
	places := []string{s.TLS.RootsCredential}
	if s.TLS.RootsCredential == "" {
		places = []string{s.TLS.Credentials[0] + "-cacert", s.TLS.Credentials[0]}
	}
	for i, place := range places {
		name, credential := b.credential(place)
		name += "|roots"
		switch {
		case credential == nil:
			return name
		case len(credential.Roots) > 0:
			b.addSecret(name, s, roots(inline(credential.Roots), inline(credential.Revoked)))
			return name
		case i == len(places)-1:
			problem := *credential
			problem.Problem = cmp.Or(problem.Problem, "it has no ca.crt")
			b.findProblem(s, "caCertCredentialName", &problem)
		}
	}
	return ""
}

// credential returns the name of the secret that a Secret in the workload's namespace becomes, and
// what it holds; nil as long as that is not known.
func (b *build) credential(secret string) (string, *mesh.Credential) {
	key := mesh.NamespacedName{Namespace: b.unit.Namespace, Name: secret}
	name := "credential|" + key.String()
	if key.Namespace == "" {
		return name, nil // no workload
	}
	return name, b.view.Credential(key)
}

// findProblem tells what is wrong with a Secret. What it had before is used on.
func (b *build) findProblem(s gatewayServer, field string, credential *mesh.Credential) {
	problem := credential.Problem
	if problem == "" && field == "credentialName" && len(credential.Certificate) == 0 {
		problem = "it has no tls.crt"
	}
	if problem != "" {
		b.find(message.CredentialUnusable(s.gateway.Origin.ObjectID, s.Path+".tls."+field, "Secret "+credential.Name.String(), problem))
	}
}

// addSecret serves a secret, once for all servers that name it.
func (b *build) addSecret(name string, s gatewayServer, secret *tlsv3.Secret) {
	secret.Name = name
	for i := range b.resources {
		if r := &b.resources[i]; r.TypeURL == SecretType && r.Name == name {
			r.Owners = sortedSet(append(r.Owners, s.gateway.Origin.ObjectID), mesh.ObjectID.Compare)
			return
		}
	}
	b.add(Resource{TypeURL: SecretType, Name: name, Message: secret, Owners: []mesh.ObjectID{s.gateway.Origin.ObjectID}})
}

func certificate(chain, key, staple *corev3.DataSource) *tlsv3.Secret {
	return &tlsv3.Secret{Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		CertificateChain: chain, PrivateKey: key, OcspStaple: staple,
	}}}
}

func roots(trusted, revoked *corev3.DataSource) *tlsv3.Secret {
	return &tlsv3.Secret{Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
		TrustedCa: trusted, Crl: revoked,
	}}}
}

func inline(content []byte) *corev3.DataSource {
	if len(content) == 0 {
		return nil
	}
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: content}}
}
