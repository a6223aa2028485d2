package translate

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
)

const (
	// meshALPN is what a proxy says in its ClientHello, so that the other one tells mutual
	// TLS of the mesh from TLS that is its application's own. A server never selects it: HTTP/1
	// and HTTP/2 are told apart by their first bytes, as in plaintext.
	meshALPN = "fairlead"
	// certsDir is where the agent keeps its SDS files, below Envoy's working directory: so
	// one resource is right for all proxies.
	certsDir = "certs"
	// hesitation is how long a caller may say nothing before a connection is taken for
	// plaintext, since there are servers that speak first. A proxy sends its ClientHello as
	// soon as it is connected: this is longer than two packets of it take to be sent again.
	hesitation = time.Second
	tlsSocket  = "envoy.transport_sockets.tls"
)

// understandsTLS reports whether a port takes mutual TLS. A port of HTTP does so although its callers
// are told to use plaintext: those that have not heard of it yet, and connections that are
// there, go on. On one of TCP they would make everybody wait for a server that speaks first.
func (p inboundPort) understandsTLS(mode mesh.MTLSMode) bool {
	return mode == mesh.MTLSStrict || mode == mesh.MTLSPermissive || mode == mesh.MTLSDisable && p.HTTP
}

// inboundChains lead what comes in on a port to the application. What the modes differ in is
// the chains, as far as possible: Envoy ends the connections of a chain that goes, and
// all of them where the rest of a listener changes.
func (b *build) inboundChains(port inboundPort) []*listenerv3.FilterChain {
	chain := func(name string) *listenerv3.FilterChain {
		chain := &listenerv3.FilterChain{Name: name, Filters: b.inboundFilters(port)}
		if !b.unit.Explicit {
			chain.FilterChainMatch = &listenerv3.FilterChainMatch{DestinationPort: wrapperspb.UInt32(uint32(port.Number))}
		}
		return chain
	}
	var chains []*listenerv3.FilterChain
	name := statName("inbound", port.Number)
	if b.unit.MTLS != mesh.MTLSStrict {
		chains = append(chains, chain(name))
	}
	if port.understandsTLS(b.unit.MTLS) {
		chains = append(chains, b.mutual(chain(name+"_mutual")))
	}
	return chains
}

// mutual makes a chain one for mutual TLS, with callers of the trust domain.
func (b *build) mutual(chain *listenerv3.FilterChain) *listenerv3.FilterChain {
	if chain.FilterChainMatch == nil {
		chain.FilterChainMatch = &listenerv3.FilterChainMatch{}
	}
	chain.FilterChainMatch.ApplicationProtocols = []string{meshALPN}
	chain.TransportSocket = transportSocket(b.meshServer())
	return chain
}

// meshServer takes callers of the trust domain.
func (b *build) meshServer() *tlsv3.DownstreamTlsContext {
	return &tlsv3.DownstreamTlsContext{
		RequireClientCertificate: wrapperspb.Bool(true),
		// A session that is resumed would show the certificates that it began with, when
		// the root that they lead to may be on its way out.
		SessionTicketKeysType:            &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{DisableStatelessSessionResumption: true},
		DisableStatefulSessionResumption: true,
		CommonTlsContext: commonTLS(&tlsv3.SubjectAltNameMatcher{
			SanType: tlsv3.SubjectAltNameMatcher_URI,
			Matcher: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "spiffe://" + b.view.Settings().TrustDomain + "/"},
			},
		}),
	}
}

// lookForTLS has a listener look at how connections begin; at those to all ports unless
// some are given.
func lookForTLS(listener *listenerv3.Listener, only []uint16) {
	inspector := listenerFilter("envoy.filters.listener.tls_inspector", &tlsinspectorv3.TlsInspector{})
	if len(only) > 0 {
		inspector.FilterDisabled = &listenerv3.ListenerFilterChainMatchPredicate{
			Rule: &listenerv3.ListenerFilterChainMatchPredicate_NotMatch{NotMatch: anyOf(only)},
		}
	}
	listener.ListenerFilters = append(listener.ListenerFilters, inspector)
	listener.ListenerFiltersTimeout = durationpb.New(hesitation)
	listener.ContinueOnListenerFiltersTimeout = true
}

func anyOf(ports []uint16) *listenerv3.ListenerFilterChainMatchPredicate {
	type predicate = listenerv3.ListenerFilterChainMatchPredicate
	rules := make([]*predicate, len(ports))
	for i, port := range ports {
		rules[i] = &predicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_DestinationPortRange{
			DestinationPortRange: &typev3.Int32Range{Start: int32(port), End: int32(port) + 1},
		}}
	}
	if len(rules) == 1 {
		return rules[0]
	}
	return &predicate{Rule: &listenerv3.ListenerFilterChainMatchPredicate_OrMatch{
		OrMatch: &listenerv3.ListenerFilterChainMatchPredicate_MatchSet{Rules: rules},
	}}
}

// towards is the transport socket for a service that shows itself as one of the accounts, or
// by what a policy says instead.
func towards(accounts []mesh.NamespacedName, trustDomain string, tls *mesh.ClientTLS) *corev3.TransportSocket {
	names, sni := []string(nil), ""
	if tls != nil {
		names, sni = tls.Names, tls.SNI
	}
	if len(names) == 0 {
		for _, account := range accounts {
			names = append(names, "spiffe://"+trustDomain+"/ns/"+account.Namespace+"/sa/"+account.Name)
		}
	}
	common := commonTLS(subjectAltNames(names)...)
	common.AlpnProtocols = []string{meshALPN}
	return transportSocket(&tlsv3.UpstreamTlsContext{
		CommonTlsContext: common,
		Sni:              sni,
		MaxSessionKeys:   wrapperspb.UInt32(0), // see mutual
	})
}

// towardsNobody refuses whatever certificate it is shown: a caller that must use mutual TLS, and has
// nothing to do so with or nobody to do so to, gets no further.
var towardsNobody = transportSocket(&tlsv3.UpstreamTlsContext{
	CommonTlsContext: &tlsv3.CommonTlsContext{
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			VerifyCertificateHash: []string{"0000000000000000000000000000000000000000000000000000000000000000"},
		}},
	},
})

// commonTLS is what both sides have: the proxy's own certificate, and a peer that the
// roots vouch for and that has one of the names.
func commonTLS(names ...*tlsv3.SubjectAltNameMatcher) *tlsv3.CommonTlsContext {
	return &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{agentSecret("certificate")},
		ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext:         &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: names},
				ValidationContextSdsSecretConfig: agentSecret("roots"),
			},
		},
	}
}

// agentSecret is what the agent keeps in a file of its folder: names and files are those of agent/bootstrap.
func agentSecret(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{
			Path:             certsDir + "/sds-" + name + ".json",
			WatchedDirectory: &corev3.WatchedDirectory{Path: certsDir},
		}},
	}}
}

func transportSocket(context proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       tlsSocket,
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed(context)},
	}
}
