package bootstrap

import (
	"strconv"
	"time"
)

const (
	connectionLimit     = "envoy.resource_monitors.global_downstream_max_connections"
	connectionLimitType = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
	heapMonitor         = "envoy.resource_monitors.fixed_heap"
	heapMonitorType     = "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig"
	pressureMonitor     = "envoy.resource_monitors.injected_resource"
	pressureMonitorType = "envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig"
	timersType          = "envoy.config.overload.v3.ScaleTimersOverloadActionConfig"

	// pressureInterval is how late a drain may begin. Four looks a second cost Envoy
	// nothing that can be measured.
	pressureInterval = 250 * time.Millisecond
	// shortestConnection is how long a connection may live under pressure. With 0, every
	// new one is closed before its first request arrives (400 of 400 were, 1.40.0); in a
	// second a caller has sent it, and gets its answer with "Connection: close" or GOAWAY.
	shortestConnection = time.Second
)

// overloadManagerOf protects the process from its own size, and lets the agent end its
// connections: see Config.PressureFile.
func overloadManagerOf(c Config) overloadManager {
	m := overloadManager{ResourceMonitors: []typedExtension{
		extension(connectionLimit, connectionLimitType, map[string]any{
			// A 64-bit integer is a string in protobuf's JSON.
			"max_active_downstream_connections": strconv.FormatUint(c.MaxConnections, 10),
		}),
	}}
	if c.HeapLimit > 0 {
		m.ResourceMonitors = append(m.ResourceMonitors, extension(heapMonitor, heapMonitorType, map[string]any{
			"max_heap_size_bytes": strconv.FormatUint(c.HeapLimit, 10),
		}))
		// Envoy's own proposal: give memory back first, refuse requests before the kernel
		// ends the process with all of them.
		// https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge
		m.Actions = append(m.Actions,
			overloadAction{Name: "envoy.overload_actions.shrink_heap", Triggers: []trigger{above(heapMonitor, 0.95)}},
			overloadAction{Name: "envoy.overload_actions.stop_accepting_requests", Triggers: []trigger{above(heapMonitor, 0.98)}})
	}
	if c.PressureFile != "" {
		m.RefreshInterval = new(duration(pressureInterval))
		m.ResourceMonitors = append(m.ResourceMonitors, extension(pressureMonitor, pressureMonitorType, map[string]any{
			"filename": c.PressureFile,
		}))
		m.Actions = append(m.Actions,
			// Asks a client to go with the next response that it gets.
			overloadAction{Name: "envoy.overload_actions.disable_http_keepalive", Triggers: []trigger{above(pressureMonitor, 1)}},
			// Asks at once those that get none: HTTP/2 connections that are idle or have
			// nothing but long streams. Connections' idle time is not reduced: an HTTP/1.1
			// connection that is closed for it may just have been sent a request.
			overloadAction{
				Name: "envoy.overload_actions.reduce_timeouts",
				Triggers: []trigger{{
					Name:   pressureMonitor,
					Scaled: &scaledTrigger{ScalingThreshold: 0, SaturationThreshold: 1},
				}},
				TypedConfig: typed(timersType, map[string]any{
					"timer_scale_factors": []map[string]any{{
						"timer":       "HTTP_DOWNSTREAM_CONNECTION_MAX",
						"min_timeout": duration(shortestConnection),
					}},
				}),
			})
	}
	return m
}

func above(monitor string, value float64) trigger {
	return trigger{Name: monitor, Threshold: &thresholdTrigger{Value: value}}
}
