package translate_test

import (
	"os"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"fairlead.dev/fairlead/internal/translate"
)

// inlined is a bootstrap in which everything that a proxy would get over xDS is static.
// Envoy looks at static resources only when it validates.
type inlined struct {
	bootstrapv3.Bootstrap_StaticResources
	Admin    *bootstrapv3.Admin
	Overload *overloadv3.OverloadManager
	// ListenersFile is where listeners are read from, if they are to change.
	ListenersFile string
}

// add inlines the resources of one proxy. With a prefix, several of them fit into one
// bootstrap to be validated: names get the prefix, and every listener a port of its own.
func (b *inlined) add(tb testing.TB, prefix string, resources []translate.Resource) {
	tb.Helper()
	assignments := map[string]*endpointv3.ClusterLoadAssignment{}
	routes := map[string]*routev3.RouteConfiguration{}
	secrets := map[string]*tlsv3.Secret{}
	for _, resource := range resources {
		switch message := resource.Message.(type) {
		case *tlsv3.Secret:
			secrets[message.Name] = message
		case *endpointv3.ClusterLoadAssignment:
			assignments[message.ClusterName] = message
		case *routev3.RouteConfiguration:
			routes[message.Name] = message
		}
	}
	scopes := &hcmv3.ScopedRouteConfigurationsList{}
	for _, resource := range resources {
		if scope, ok := resource.Message.(*routev3.ScopedRouteConfiguration); ok {
			scope = proto.CloneOf(scope)
			scope.RouteConfiguration = routes[scope.RouteConfigurationName]
			if scope.RouteConfiguration == nil {
				tb.Errorf("%sscope %s leads to no route configuration", prefix, scope.Name)
			}
			scope.RouteConfigurationName = ""
			scopes.ScopedRouteConfigurations = append(scopes.ScopedRouteConfigurations, scope)
		}
	}
	for _, resource := range resources {
		switch message := resource.Message.(type) {
		case *clusterv3.Cluster:
			cluster := staticCluster(tb, prefix, message, assignments)
			staticSocket(tb, cluster.TransportSocket, secrets)
			b.Clusters = append(b.Clusters, cluster)
		case *listenerv3.Listener:
			listener := staticListener(tb, message, scopes, routes, secrets)
			listener.Name = prefix + listener.Name
			if prefix != "" {
				listener.Address.GetSocketAddress().PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: uint32(10000 + len(b.Listeners))}
			}
			b.Listeners = append(b.Listeners, listener)
		}
	}
}

func staticCluster(tb testing.TB, prefix string, cluster *clusterv3.Cluster, assignments map[string]*endpointv3.ClusterLoadAssignment) *clusterv3.Cluster {
	tb.Helper()
	cluster = proto.CloneOf(cluster)
	if cluster.GetType() == clusterv3.Cluster_EDS {
		name := cluster.Name
		if cluster.EdsClusterConfig.ServiceName != "" {
			name = cluster.EdsClusterConfig.ServiceName
		}
		if assignments[name] == nil {
			tb.Errorf("%scluster %s has no load assignment %s", prefix, cluster.Name, name)
			return cluster
		}
		cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
		cluster.EdsClusterConfig = nil
		cluster.LoadAssignment = proto.CloneOf(assignments[name])
	}
	cluster.Name = prefix + cluster.Name
	return cluster
}

func staticListener(tb testing.TB, listener *listenerv3.Listener, scopes *hcmv3.ScopedRouteConfigurationsList, routes map[string]*routev3.RouteConfiguration, secrets map[string]*tlsv3.Secret) *listenerv3.Listener {
	tb.Helper()
	listener = proto.CloneOf(listener)
	chains := listener.FilterChains
	if listener.DefaultFilterChain != nil {
		chains = append(chains, listener.DefaultFilterChain)
	}
	for _, chain := range chains {
		staticSocket(tb, chain.TransportSocket, secrets)
		for _, filter := range chain.Filters {
			manager := &hcmv3.HttpConnectionManager{}
			if !filter.GetTypedConfig().MessageIs(manager) {
				continue
			}
			if err := filter.GetTypedConfig().UnmarshalTo(manager); err != nil {
				tb.Fatal(err)
			}
			scoped := manager.GetScopedRoutes()
			if rds := manager.GetRds(); rds != nil {
				if routes[rds.RouteConfigName] == nil {
					tb.Errorf("listener %s leads to no route configuration %s", listener.Name, rds.RouteConfigName)
				}
				manager.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: routes[rds.RouteConfigName]}
				repack(tb, filter, manager)
			}
			if scoped == nil {
				continue
			}
			scoped.RdsConfigSource = nil
			scoped.ConfigSpecifier = &hcmv3.ScopedRoutes_ScopedRouteConfigurationsList{ScopedRouteConfigurationsList: scopes}
			if len(scopes.ScopedRouteConfigurations) == 0 {
				// A list must not be empty, though what comes over xDS may be.
				manager.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{Name: "none"}}
			}
			repack(tb, filter, manager)
		}
	}
	return listener
}

func repack(tb testing.TB, filter *listenerv3.Filter, manager *hcmv3.HttpConnectionManager) {
	tb.Helper()
	packed, err := anypb.New(manager)
	if err != nil {
		tb.Fatal(err)
	}
	filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: packed}
}

// staticSocket puts the secrets that are served in the place of where they come from.
func staticSocket(tb testing.TB, socket *corev3.TransportSocket, secrets map[string]*tlsv3.Secret) {
	tb.Helper()
	if socket == nil {
		return
	}
	message, err := socket.GetTypedConfig().UnmarshalNew()
	if err != nil {
		tb.Fatal(err)
	}
	context, isTLS := message.(interface {
		proto.Message
		GetCommonTlsContext() *tlsv3.CommonTlsContext
	})
	if !isTLS {
		return
	}
	common := context.GetCommonTlsContext()
	var kept []*tlsv3.SdsSecretConfig
	for _, config := range common.TlsCertificateSdsSecretConfigs {
		if secret := secrets[config.Name]; secret != nil {
			certificate := proto.CloneOf(secret.GetTlsCertificate())
			inFile(certificate.CertificateChain, onePair().certificate)
			inFile(certificate.PrivateKey, onePair().key)
			common.TlsCertificates = append(common.TlsCertificates, certificate)
		} else {
			kept = append(kept, config)
		}
	}
	common.TlsCertificateSdsSecretConfigs = kept
	if combined := common.GetCombinedValidationContext(); combined != nil && secrets[combined.ValidationContextSdsSecretConfig.Name] != nil {
		merged := proto.CloneOf(combined.DefaultValidationContext)
		proto.Merge(merged, secrets[combined.ValidationContextSdsSecretConfig.Name].GetValidationContext())
		inFile(merged.TrustedCa, onePair().certificate)
		merged.Crl = nil // an authority's list of what it has revoked is not at hand
		common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: merged}
	} else if combined.GetValidationContextSdsSecretConfig().GetSdsConfig().GetAds() != nil {
		common.ValidationContextType = nil // there is no stream by which it could come
	}
	packed, err := anypb.New(context)
	if err != nil {
		tb.Fatal(err)
	}
	socket.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: packed}
}

// inFile puts text in the place of a file that is not there.
func inFile(source *corev3.DataSource, text string) {
	if source.GetFilename() != "" {
		source.Specifier = &corev3.DataSource_InlineString{InlineString: strings.ReplaceAll(text, `\n`, "\n")}
	}
}

// bootstrap returns the bootstrap as JSON.
func (b *inlined) bootstrap(tb testing.TB) []byte {
	tb.Helper()
	bootstrap := &bootstrapv3.Bootstrap{
		Node:            &corev3.Node{Id: "default/front", Cluster: "front.default"},
		StaticResources: &b.Bootstrap_StaticResources,
		Admin:           b.Admin,
		OverloadManager: b.Overload,
	}
	if b.ListenersFile != "" {
		b.writeListeners(tb)
		b.Listeners = nil
		bootstrap.DynamicResources = &bootstrapv3.Bootstrap_DynamicResources{LdsConfig: &corev3.ConfigSource{
			ResourceApiVersion:    corev3.ApiVersion_V3,
			ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{Path: b.ListenersFile}},
		}}
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true, Multiline: true}.Marshal(bootstrap)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// writeListeners puts the listeners where Envoy looks for a file that is moved there.
func (b *inlined) writeListeners(tb testing.TB) {
	tb.Helper()
	response := &discovery.DiscoveryResponse{}
	for _, listener := range b.Listeners {
		packed, err := anypb.New(listener)
		if err != nil {
			tb.Fatal(err)
		}
		response.Resources = append(response.Resources, packed)
	}
	text, err := protojson.Marshal(response)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(b.ListenersFile+".new", text, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(b.ListenersFile+".new", b.ListenersFile); err != nil {
		tb.Fatal(err)
	}
}
