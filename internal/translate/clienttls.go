package translate

import (
	"net/netip"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// systemRoots is a secret of agent/bootstrap: the authorities that the proxy's own system
// trusts. Only the proxy's side knows in which file they are.
const systemRoots = "system-roots"

// secure has connections of a target's cluster speak TLS as they should.
func (b *build) secure(cluster *clusterv3.Cluster, service *mesh.Service, t target) {
	tls := t.Traffic.TLS
	key := service.Key()
	if service.AliasOf != "" {
		key = service.AliasOf
	}
	accounts := b.view.Accounts(key)
	able := b.unit.Certified && len(accounts) > 0 && !service.External
	auto := &mesh.ClientTLS{Names: service.SubjectAltNames}
	switch {
	case tls.Own() && tls.Credential != "" && !b.mayHaveCredential():
		cluster.TransportSocket = towardsNobody
	case tls.Own():
		cluster.TransportSocket = b.clientTLS(t)
	case t.Traffic.Mode() == mesh.TLSMesh && able:
		cluster.TransportSocket = towards(accounts, b.view.Settings().TrustDomain, tls)
	case t.Traffic.Mode() == mesh.TLSMesh:
		cluster.TransportSocket = towardsNobody
	case tls == nil && able && t.Direct:
		cluster.TransportSocket = towards(accounts, b.view.Settings().TrustDomain, auto)
	case tls == nil && able:
		cluster.TransportSocketMatches = []*clusterv3.Cluster_TransportSocketMatch{{
			Name: "mutual", Match: mutualEndpoint, TransportSocket: towards(accounts, b.view.Settings().TrustDomain, auto),
		}}
	}
	if version := t.Traffic.ProxyProtocol; version > 0 {
		cluster.TransportSocket = afterProxyHeader(cluster.TransportSocket, version)
		for _, match := range cluster.TransportSocketMatches {
			match.TransportSocket = afterProxyHeader(match.TransportSocket, version)
		}
	}
}

// clientTLS is the transport socket for servers outside the mesh, which have names of their own.
func (b *build) clientTLS(t target) *corev3.TransportSocket {
	tls := t.Traffic.TLS
	common := &tlsv3.CommonTlsContext{}
	context := &tlsv3.UpstreamTlsContext{CommonTlsContext: common, Sni: tls.SNI}
	names := tls.Names
	if t.Port.Protocol.IsBytes() && tls.SNI == "" && !mesh.IsWildcard(b.unit.Host) {
		context.Sni = b.unit.Host // there is no request that would name the server
	}
	if len(names) == 0 && context.Sni != "" {
		names = []string{context.Sni}
	}
	if t.speaksHTTP2() {
		common.AlpnProtocols = []string{"h2"}
	}
	if tls.Credential != "" {
		b.fromCredential(t, context, names)
		return transportSocket(context)
	}
	if tls.Certificate != "" {
		common.TlsCertificates = []*tlsv3.TlsCertificate{{CertificateChain: file(tls.Certificate), PrivateKey: file(tls.Key)}}
	}
	if tls.SkipVerify {
		return transportSocket(context)
	}
	expected := &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: subjectAltNames(names)}
	if tls.Revoked != "" {
		expected.Crl = file(tls.Revoked)
	}
	if tls.Roots != "" {
		expected.TrustedCa = file(tls.Roots)
		common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: expected}
	} else {
		common.ValidationContextType = rootsFrom(expected, &tlsv3.SdsSecretConfig{Name: systemRoots})
	}
	return transportSocket(context)
}

// mayHaveCredential reports whether the caller is one that is served Secrets of its namespace: a
// gateway, or a workload that the policy selects there.
func (b *build) mayHaveCredential() bool {
	policy := b.policy(b.unit.Host)
	return b.labels[mesh.LabelMode] == mesh.ModeGateway || policy != nil && len(policy.Selector) > 0
}

// fromCredential takes certificate and authorities from a Secret of the caller's namespace. What
// it has not, or what is not known yet, the proxy waits for: without it no connection is made.
func (b *build) fromCredential(t target, context *tlsv3.UpstreamTlsContext, names []string) {
	tls, common := t.Traffic.TLS, context.CommonTlsContext
	name, credential := b.credential(tls.Credential)
	name += "|" + b.unit.Host // each host's clusters have it as their own
	if credential == nil {
		credential = &mesh.Credential{}
	} else if problem := credentialProblem(credential, tls); problem != "" {
		b.find(message.CredentialUnusable(b.policy(b.unit.Host).Origin.ObjectID, tls.Path+".credentialName", "Secret "+credential.Name.String(), problem))
	}
	take := func(name string, content []byte, secret *tlsv3.Secret) *tlsv3.SdsSecretConfig {
		secret.Name = name
		served := slices.ContainsFunc(b.resources, func(r Resource) bool { return r.TypeURL == SecretType && r.Name == name })
		if len(content) > 0 && !served {
			b.add(Resource{TypeURL: SecretType, Name: name, Message: secret, Owners: []mesh.ObjectID{b.policy(b.unit.Host).Origin.ObjectID}})
		}
		return b.secretFrom(name)
	}
	if tls.Mode == mesh.TLSMutual {
		common.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{take(name, credential.Certificate,
			certificate(inline(credential.Certificate), inline(credential.Key), inline(credential.Staple)))}
	}
	if !tls.SkipVerify {
		expected := &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: subjectAltNames(names)}
		common.ValidationContextType = rootsFrom(expected, take(name+"|roots", credential.Roots,
			roots(inline(credential.Roots), inline(credential.Revoked))))
	}
}

// credentialProblem says why a Secret cannot be used for what it is to be.
func credentialProblem(credential *mesh.Credential, tls *mesh.ClientTLS) string {
	switch {
	case credential.Problem != "":
		return credential.Problem
	case tls.Mode == mesh.TLSMutual && len(credential.Certificate) == 0:
		return "it has no tls.crt"
	case !tls.SkipVerify && len(credential.Roots) == 0:
		return "it has no ca.crt"
	}
	return ""
}

// rootsFrom takes the authorities from a secret, and the rest of what is expected as it stands.
func rootsFrom(expected *tlsv3.CertificateValidationContext, secret *tlsv3.SdsSecretConfig) *tlsv3.CommonTlsContext_CombinedValidationContext {
	return &tlsv3.CommonTlsContext_CombinedValidationContext{
		CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
			DefaultValidationContext: expected, ValidationContextSdsSecretConfig: secret,
		},
	}
}

// subjectAltNames matches a certificate that has one of the names, each by its kind.
func subjectAltNames(names []string) []*tlsv3.SubjectAltNameMatcher {
	matchers := make([]*tlsv3.SubjectAltNameMatcher, len(names))
	for i, name := range names {
		kind := tlsv3.SubjectAltNameMatcher_DNS
		if _, err := netip.ParseAddr(name); err == nil {
			kind = tlsv3.SubjectAltNameMatcher_IP_ADDRESS
		} else if strings.Contains(name, "://") {
			kind = tlsv3.SubjectAltNameMatcher_URI
		}
		matchers[i] = &tlsv3.SubjectAltNameMatcher{
			SanType: kind, Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: name}},
		}
	}
	return matchers
}

// afterProxyHeader has each connection begin with a header that says who called.
func afterProxyHeader(inner *corev3.TransportSocket, version int) *corev3.TransportSocket {
	if inner == nil {
		inner = &corev3.TransportSocket{
			Name:       "envoy.transport_sockets.raw_buffer",
			ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed(&rawbufferv3.RawBuffer{})},
		}
	}
	header := &corev3.ProxyProtocolConfig{Version: corev3.ProxyProtocolConfig_V1}
	if version == 2 {
		header.Version = corev3.ProxyProtocolConfig_V2
	}
	return &corev3.TransportSocket{
		Name: "envoy.transport_sockets.upstream_proxy_protocol",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed(&proxyprotocolv3.ProxyProtocolUpstreamTransport{
			Config: header, TransportSocket: inner,
		})},
	}
}

func file(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}
