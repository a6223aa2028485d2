package translate

import (
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	commonfaultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
)

const (
	corsFilter  = "envoy.filters.http.cors"
	faultFilter = "envoy.filters.http.fault"
	webSocket   = "websocket"
)

// routeFilters stand in every connection manager that routes, since a listener that changed
// with the routes would end connections. Without a word from the route they do nothing. CORS
// comes first, so that browsers may read what a fault answered.
var routeFilters = []*hcmv3.HttpFilter{
	httpFilter(corsFilter, &corsv3.Cors{}),
	httpFilter(faultFilter, &faultv3.HTTPFault{}),
	router,
}

// filterConfig is what a route says to the filters.
func filterConfig(route *mesh.HTTPRoute) map[string]*anypb.Any {
	config := map[string]*anypb.Any{}
	if route.CORS != nil {
		config[corsFilter] = packed(corsPolicy(route.CORS))
	}
	if route.Fault != nil {
		config[faultFilter] = packed(fault(route.Fault))
	}
	if len(config) == 0 {
		return nil
	}
	return config
}

func fault(f *mesh.Fault) *faultv3.HTTPFault {
	built := &faultv3.HTTPFault{}
	if f.Delay != nil {
		built.Delay = &commonfaultv3.FaultDelay{
			FaultDelaySecifier: &commonfaultv3.FaultDelay_FixedDelay{FixedDelay: durationpb.New(f.Delay.For)},
			Percentage:         fraction(f.Delay.Percent),
		}
	}
	if f.Abort != nil {
		built.Abort = &faultv3.FaultAbort{
			ErrorType:  &faultv3.FaultAbort_GrpcStatus{GrpcStatus: f.Abort.GRPCStatus},
			Percentage: fraction(f.Abort.Percent),
		}
		if f.Abort.HTTPStatus != 0 {
			built.Abort.ErrorType = &faultv3.FaultAbort_HttpStatus{HttpStatus: f.Abort.HTTPStatus}
		}
	}
	if f.Throttle != nil {
		built.ResponseRateLimit = &commonfaultv3.FaultRateLimit{
			LimitType: &commonfaultv3.FaultRateLimit_FixedLimit_{
				FixedLimit: &commonfaultv3.FaultRateLimit_FixedLimit{LimitKbps: f.Throttle.KiBytesPerSecond},
			},
			Percentage: fraction(f.Throttle.Percent),
		}
	}
	return built
}

// fraction is a share in the finest resolution that Envoy has.
func fraction(percent float64) *typev3.FractionalPercent {
	const perPercent = 10_000
	return &typev3.FractionalPercent{Numerator: uint32(percent*perPercent + 0.5), Denominator: typev3.FractionalPercent_MILLION}
}

func corsPolicy(c *mesh.CORS) *corsv3.CorsPolicy {
	built := &corsv3.CorsPolicy{
		AllowMethods:                 strings.Join(c.Methods, ","),
		AllowHeaders:                 strings.Join(c.Headers, ","),
		ExposeHeaders:                strings.Join(c.ExposeHeaders, ","),
		ForwardNotMatchingPreflights: wrapperspb.Bool(!c.IgnoreUnmatched),
	}
	for _, origin := range c.Origins {
		built.AllowOriginStringMatch = append(built.AllowOriginStringMatch, stringMatch(origin))
	}
	if c.MaxAge > 0 {
		built.MaxAge = strconv.FormatInt(int64(c.MaxAge/time.Second), 10)
	}
	if c.Credentials != nil {
		built.AllowCredentials = wrapperspb.Bool(*c.Credentials)
	}
	return built
}

// mirrors are the destinations of copies. One that does not resolve gets none, and the
// request goes on.
func (p *portRoutes) mirrors(mirrors []mesh.Mirror) []*routev3.RouteAction_RequestMirrorPolicy {
	var built []*routev3.RouteAction_RequestMirrorPolicy
	for i := range mirrors {
		built = append(built, &routev3.RouteAction_RequestMirrorPolicy{
			Cluster:         p.resolve(&mirrors[i].Destination),
			RuntimeFraction: &corev3.RuntimeFractionalPercent{DefaultValue: fraction(mirrors[i].Percent)},
		})
	}
	return built
}
