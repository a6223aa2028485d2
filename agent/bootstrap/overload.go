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
func overloadManagerOf(c Config) object {
	monitors := []object{extension(connectionLimit, connectionLimitType, object{
		// A 64-bit integer is a string in protobuf's JSON.
		"max_active_downstream_connections": strconv.FormatUint(c.MaxConnections, 10),
	})}
	var actions []object
	m := object{}
	if c.HeapLimit > 0 {
		monitors = append(monitors, extension(heapMonitor, heapMonitorType, object{
			"max_heap_size_bytes": strconv.FormatUint(c.HeapLimit, 10),
		}))
		// Envoy's own proposal: give memory back first, refuse requests before the kernel
		// ends the process with all of them.
		// https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge
		actions = append(actions,
			actionAbove("shrink_heap", heapMonitor, 0.95),
			actionAbove("stop_accepting_requests", heapMonitor, 0.98))
	}
	if c.PressureFile != "" {
		m["refresh_interval"] = duration(pressureInterval)
		monitors = append(monitors, extension(pressureMonitor, pressureMonitorType, object{"filename": c.PressureFile}))
		actions = append(actions,
			// Asks a client to go with the next response that it gets.
			actionAbove("disable_http_keepalive", pressureMonitor, 1),
			// Asks at once those that get none: HTTP/2 connections that are idle or have
			// nothing but long streams. Connections' idle time is not reduced: an HTTP/1.1
			// connection that is closed for it may just have been sent a request.
			object{
				"name": actionPrefix + "reduce_timeouts",
				"triggers": []object{{
					"name":   pressureMonitor,
					"scaled": object{"scaling_threshold": 0, "saturation_threshold": 1},
				}},
				"typed_config": typed(timersType, object{
					"timer_scale_factors": []object{{
						"timer":       "HTTP_DOWNSTREAM_CONNECTION_MAX",
						"min_timeout": duration(shortestConnection),
					}},
				}),
			})
	}
	m["resource_monitors"] = monitors
	if actions != nil {
		m["actions"] = actions
	}
	return m
}

const actionPrefix = "envoy.overload_actions."

func actionAbove(action, monitor string, value float64) object {
	return object{
		"name":     actionPrefix + action,
		"triggers": []object{{"name": monitor, "threshold": object{"value": value}}},
	}
}
