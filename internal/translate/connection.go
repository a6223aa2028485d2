package translate

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
)

const (
	// ageSpread is the share of the greatest age, in percent, by which connections end
	// earlier, each at another moment: those of a whole mesh may have begun at once.
	ageSpread = 10
	// callersAge is the share of the greatest age, in percent, at which a proxy ends its
	// connections to others. It is to be first: at their age those end a connection that
	// never had a request without a word, and one may be on its way, which is answered 503.
	// The rest of the age, less the spread, is for a proxy that hears late of its timer.
	callersAge = 75
	// drainTimeout is from the first GOAWAY, which asks the client to go, to the second,
	// after which requests are refused (RFC 9113, section 6.8). It is to be longer than
	// a client and the network may hesitate, and every drain takes at least as long:
	// Envoy's own 5 s are a sixth of the time that a Pod has to end.
	drainTimeout = 2 * time.Second
)

// connectionManager returns what all HTTP connection managers have in common. A proxy
// between two applications adds as little as possible: no Server and Via headers. Paths
// are normalised before they are matched (RFC 3986), but slashes are not merged, as
// Istio's default is.
//
// A connection ends at an age, lest it show certificates that were replaced long ago. An agent
// that is to end cuts the same timer short, by Envoy's overload action reduce_timeouts.
// Either way clients that make no request, or one long one, are told to go by GOAWAY, and
// those of HTTP/1.1 with their next answer; what is under way goes on.
func (b *build) connectionManager(statPrefix string) *hcmv3.HttpConnectionManager {
	age := b.view.Settings().MaxConnectionAge
	return &hcmv3.HttpConnectionManager{
		StatPrefix:                 statPrefix,
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		NormalizePath:              wrapperspb.Bool(true),
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			MaxConnectionDuration:       durationpb.New(age - age*ageSpread/100),
			MaxConnectionDurationJitter: &typev3.Percent{Value: ageSpread},
		},
		DrainTimeout: durationpb.New(drainTimeout),
		// An idle connection of HTTP/1.1 is not closed at that age but told with its next
		// answer: a request may be on its way on it. Envoy does not spare one that had no
		// request yet, of which a pool has some: see callersAge.
		Http1SafeMaxConnectionDuration: true,
		UpgradeConfigs:                 []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: webSocket}},
		HttpFilters:                    routeFilters,
	}
}

var router = httpFilter("envoy.filters.http.router", &routerv3.Router{})

// scopedRoutes finds routes by the whole value of a request header. There is no default
// scope: what no scope is for is answered 404. All connection managers of a proxy share
// one subscription.
func (b *build) scopedRoutes(header string) *hcmv3.HttpConnectionManager_ScopedRoutes {
	type (
		builder   = hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder
		extractor = hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor
		index     = hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_Index
		oneOf     = hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_
	)
	whole := &extractor{Name: header, ExtractType: &index{Index: 0}}
	return &hcmv3.HttpConnectionManager_ScopedRoutes{ScopedRoutes: &hcmv3.ScopedRoutes{
		Name: "outbound",
		ScopeKeyBuilder: &hcmv3.ScopedRoutes_ScopeKeyBuilder{
			Fragments: []*builder{{Type: &oneOf{HeaderValueExtractor: whole}}},
		},
		RdsConfigSource: b.configSource(),
		ConfigSpecifier: &hcmv3.ScopedRoutes_ScopedRds{
			ScopedRds: &hcmv3.ScopedRds{ScopedRdsConfigSource: b.configSourceWithoutEnd()},
		},
	}}
}

// applicationManager forwards every request to the application behind the proxy.
func (b *build) applicationManager(name, cluster string) *hcmv3.HttpConnectionManager {
	manager := b.connectionManager(name)
	manager.HttpFilters = []*hcmv3.HttpFilter{router} // the caller's proxy has seen to the rest
	manager.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
		Name: name,
		VirtualHosts: []*routev3.VirtualHost{{
			Name:    name,
			Domains: []string{"*"},
			Routes: []*routev3.Route{{
				Name:  "default",
				Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{
					ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
					Timeout:          noTimeout,
					// An application may close an idle connection at the moment that a
					// request is sent on it. Nothing of it was read then.
					RetryPolicy: &routev3.RetryPolicy{
						RetryOn:    "reset-before-request",
						NumRetries: wrapperspb.UInt32(defaultAttempts),
					},
				}},
			}},
		}},
		// The bootstrap may not know the port: that is a 503, not a refused listener.
		ValidateClusters: wrapperspb.Bool(false),
	}}
	return manager
}

func httpChain(manager *hcmv3.HttpConnectionManager) []*listenerv3.Filter {
	return []*listenerv3.Filter{networkFilter("envoy.filters.network.http_connection_manager", manager)}
}

// tcpChain carries bytes to a cluster. Connections may be idle as long as applications
// like: Envoy's limit of one hour would be a surprise to a database client. Bytes have
// no word for going: a drain waits for either side to close, and then there is its deadline.
func tcpChain(statPrefix, cluster string) []*listenerv3.Filter {
	return tcpChainFor(mesh.Traffic{}, statPrefix, cluster)
}

// tcpChainFor does what a policy says of the traffic to the cluster.
func tcpChainFor(traffic mesh.Traffic, statPrefix, cluster string) []*listenerv3.Filter {
	proxy := &tcpproxyv3.TcpProxy{
		StatPrefix:       statPrefix,
		ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: cluster},
		IdleTimeout:      noTimeout,
	}
	applyTCP(proxy, traffic)
	return []*listenerv3.Filter{networkFilter("envoy.filters.network.tcp_proxy", proxy)}
}

// tcpTo carries bytes to a host's port as its policy says, and returns whose policy that is.
func (b *build) tcpTo(host string, port uint16) ([]*listenerv3.Filter, []mesh.ObjectID) {
	var policy *mesh.Policy
	if b.view.Service(host) != nil { // who has none is not told of wildcards that cover it
		policy = b.policy(host)
	}
	traffic := policy.For("", port)
	var owners []mesh.ObjectID
	if !traffic.IsZero() {
		owners = append(owners, policy.Origin.ObjectID)
	}
	return tcpChainFor(traffic, statName("outbound", port), ClusterName(host, port, "")), owners
}

func networkFilter(name string, config proto.Message) *listenerv3.Filter {
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(config)}}
}

func httpFilter(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed(config)}}
}
