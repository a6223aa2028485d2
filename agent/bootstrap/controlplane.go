package bootstrap

import (
	"net"
	"net/netip"
	"strconv"
	"time"
)

// apiTypes are Envoy's names.
var apiTypes = map[Protocol]string{
	"": "DELTA_GRPC", Delta: "DELTA_GRPC", DeltaStreams: "DELTA_GRPC", StateOfTheWorld: "GRPC", StateOfTheWorldStreams: "GRPC", REST: "REST",
}

func dynamicResourcesOf(c Config) object {
	from := object{
		"api_type":              apiTypes[c.Protocol],
		"transport_api_version": "V3",
	}
	if c.Protocol == REST {
		from["cluster_names"] = []string{XDSCluster}
		from["refresh_delay"] = duration(time.Second)
	} else {
		// A node is about 61 KB, since Envoy adds the names of all its extensions.
		from["set_node_on_first_message_only"] = true
		from["grpc_services"] = grpcServices()
	}
	source := object{"resource_api_version": "V3", "initial_fetch_timeout": duration(c.InitialFetchTimeout)}
	resources := object{"lds_config": source, "cds_config": source}
	switch c.Protocol {
	case "", Delta, StateOfTheWorld:
		source["ads"], resources["ads_config"] = object{}, from
	default:
		source["api_config_source"] = from
	}
	return resources
}

func grpcServices() []object {
	return []object{{"envoy_grpc": object{
		"cluster_name": XDSCluster,
		// Jittered and exponential. Envoy's own default reaches 30 s, which is
		// how long a proxy would be stale after a manager's restart.
		"retry_policy": object{"retry_back_off": backOff(200*time.Millisecond, 5*time.Second)},
	}}}
}

func backOff(base, most time.Duration) object {
	return object{"base_interval": duration(base), "max_interval": duration(most)}
}

const dnsClusterType = "envoy.extensions.clusters.dns.v3.DnsCluster"

// xdsCluster leads to the manager: in plaintext by a Unix socket that only our own user
// can reach, or by mutual TLS over the network.
func xdsCluster(c Config) object {
	protocol := object{
		"explicit_http_config": object{
			"http2_protocol_options": object{
				// A manager that hangs keeps its socket open, and a network that fails
				// says nothing; only an unanswered ping tells. The server must allow
				// pings this often.
				"connection_keepalive": object{
					"interval": duration(30 * time.Second),
					"timeout":  duration(10 * time.Second),
				},
			},
		},
	}
	if c.Protocol == REST {
		protocol = object{"explicit_http_config": object{"http_protocol_options": object{}}}
	}
	if c.XDSSocket != "" {
		return staticCluster(XDSCluster, pipe(c.XDSSocket, 0), protocol)
	}
	host, portText, _ := net.SplitHostPort(c.XDSAddress)
	port, _ := strconv.ParseUint(portText, 10, 16)
	cluster := staticCluster(XDSCluster, socketAddress(host, uint16(port)), protocol)
	cluster["transport_socket"] = controlPlaneTLS(c, host)
	// A handshake over a network takes longer than a Unix socket does.
	cluster["connect_timeout"] = duration(5 * time.Second)
	if _, err := netip.ParseAddr(host); err == nil {
		return cluster
	}
	delete(cluster, "type")
	cluster["cluster_type"] = extension("envoy.clusters.dns", dnsClusterType, object{
		"dns_lookup_family": lookupFamilies[c.DNSFamily],
		// As long as the record says, in place of every 5 s from every proxy of a mesh.
		"respect_dns_ttl":          true,
		"dns_failure_refresh_rate": backOff(time.Second, 5*time.Second),
	})
	return cluster
}

// lookupFamilies are Envoy's names. Its own default is AUTO too.
var lookupFamilies = map[DNSFamily]string{
	"":      "AUTO",
	DNSAuto: "AUTO",
	DNSv4:   "V4_ONLY",
	DNSv6:   "V6_ONLY",
	DNSAll:  "ALL",
}
