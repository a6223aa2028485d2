package bootstrap

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"
)

func dynamicResourcesOf(c Config) dynamicResources {
	apiType := "DELTA_GRPC"
	if c.Protocol == StateOfTheWorld {
		apiType = "GRPC"
	}
	overADS := configSource{ResourceAPIVersion: "V3", InitialFetchTimeout: duration(c.InitialFetchTimeout)}
	return dynamicResources{
		ADSConfig: apiConfigSource{
			APIType:             apiType,
			TransportAPIVersion: "V3",
			// A node is about 61 KB, since Envoy adds the names of all its extensions.
			SetNodeOnFirstMessageOnly: true,
			GRPCServices: []grpcService{{EnvoyGRPC: envoyGRPC{
				ClusterName: XDSCluster,
				// Jittered and exponential. Envoy's own default reaches 30 s, which is
				// how long a proxy would be stale after a manager's restart.
				RetryPolicy: retryPolicy{RetryBackOff: backOff{
					BaseInterval: duration(200 * time.Millisecond),
					MaxInterval:  duration(5 * time.Second),
				}},
			}}},
		},
		LDSConfig: overADS,
		CDSConfig: overADS,
	}
}

const dnsClusterType = "envoy.extensions.clusters.dns.v3.DnsCluster"

// xdsCluster leads to the manager: in plaintext by a Unix socket that only our own user
// can reach, or by mutual TLS over the network.
func xdsCluster(c Config) cluster {
	protocol := map[string]any{
		"explicit_http_config": map[string]any{
			"http2_protocol_options": map[string]any{
				// A manager that hangs keeps its socket open, and a network that fails
				// says nothing; only an unanswered ping tells. The server must allow
				// pings this often.
				"connection_keepalive": map[string]any{
					"interval": duration(30 * time.Second),
					"timeout":  duration(10 * time.Second),
				},
			},
		},
	}
	if c.XDSSocket != "" {
		return staticCluster(XDSCluster, address{Pipe: &pipe{Path: c.XDSSocket}}, protocol)
	}
	// Taken apart without an error: check has looked.
	host, port, _ := splitAddress(c.XDSAddress)
	cluster := staticCluster(XDSCluster, address{SocketAddress: &socketAddress{Address: host, PortValue: port}}, protocol)
	cluster.TransportSocket = new(controlPlaneTLS(c, host))
	// A handshake over a network takes longer than a Unix socket does.
	cluster.ConnectTimeout = duration(5 * time.Second)
	if _, err := netip.ParseAddr(host); err == nil {
		return cluster
	}
	cluster.Type, cluster.ClusterType = "", new(extension("envoy.clusters.dns", dnsClusterType, map[string]any{
		"dns_lookup_family": lookupFamilies[c.DNSFamily],
		// As long as the record says, in place of every 5 s from every proxy of a mesh.
		"respect_dns_ttl": true,
		"dns_failure_refresh_rate": backOff{
			BaseInterval: duration(time.Second),
			MaxInterval:  duration(5 * time.Second),
		},
	}))
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

func splitAddress(text string) (host string, port uint16, err error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, errors.New(text + " is not HOST:PORT")
	}
	return host, uint16(n), nil
}
