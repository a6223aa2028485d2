package bootstrap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// maxRegexProgram is the largest compiled size of a regular expression, in instructions.
const maxRegexProgram = 32768

// Build returns the bootstrap as indented JSON that ends with a newline.
func Build(c Config) ([]byte, error) {
	if c.MaxConnections == 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	static := object{"clusters": clustersOf(c)}
	if secrets := secretsOf(c); secrets != nil {
		static["secrets"] = secrets
	}
	if c.ProofSocket != "" {
		static["listeners"] = []object{proofListener(c)}
	}
	m := object{
		"node": nodeOf(c),
		// Only our own user can reach it: it can shut Envoy down and shows its configuration.
		// Its connections do not count towards the limit, because they are needed most when
		// that is reached.
		"admin": object{
			"address":                  pipe(c.AdminSocket, 0o600),
			"ignore_global_conn_limit": true,
		},
		"dynamic_resources": dynamicResourcesOf(c),
		"static_resources":  static,
		"stats_config":      statsConfig(),
		// A request for statistics is what merges them, so that it is told the newest, and
		// none are lost to Prometheus by a hot restart: a successor goes on with what its
		// predecessor counted after the last merge (tried; with Envoy's timer of 5 s, those
		// since the last request were lost, and each idle Envoy had to wake up for it).
		"stats_flush_on_admin": true,
		// Counters of a cluster that no request has used yet take no memory. Together
		// with the matcher: 27 KB a cluster instead of 54 (measured, 1.40.0).
		"deferred_stat_options": object{"enable_deferred_creation_stats": true},
		"overload_manager":      overloadManagerOf(c),
		"layered_runtime": object{"layers": []object{
			{"name": "limits", "static_layer": object{
				// Envoy's own limit is 100 instructions, which an expression such as
				// [a-z0-9-]{1,64} exceeds. Istio's limit, so that what works there works here.
				"re2.max_program_size.error_level": maxRegexProgram,
			}},
			// Lets an operator flip a runtime guard by the administration interface;
			// without a layer of this kind Envoy refuses to.
			{"name": "admin", "admin_layer": object{}},
		}},
	}
	if c.ChecksHealth {
		m["hds_config"] = object{
			"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": grpcServices(),
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(m); err != nil {
		return nil, fmt.Errorf("encode bootstrap of %s/%s: %w", c.Namespace, c.Pod, err)
	}
	return out.Bytes(), nil
}

// nodeOf keeps the metadata small: it travels with every xDS stream, and the manager
// knows the rest from the Pod that the id names.
func nodeOf(c Config) object {
	metadata := object{}
	for key, value := range map[string]string{
		"NAME": c.Pod, "NAMESPACE": c.Namespace, "WORKLOAD": c.Workload, "SERVICE_ACCOUNT": c.ServiceAccount,
		"AGENT_VERSION": c.AgentVersion, "REVISION": c.Revision,
	} {
		if value != "" {
			metadata[key] = value
		}
	}
	if len(c.Labels) > 0 {
		metadata["LABELS"] = c.Labels
	}
	n := object{"id": c.Namespace + "/" + c.Pod, "cluster": c.Workload + "." + c.Namespace, "metadata": metadata}
	if c.Locality != (Locality{}) {
		n["locality"] = c.Locality
	}
	return n
}

// object is a message with the names of its protobuf fields, of which JSON sorts the
// names. Envoy rejects an unknown field in a bootstrap, so a misspelt one is found by
// `envoy --mode validate`.
type object = map[string]any

// extension is a message of a type that Envoy is told by name.
func extension(name, messageType string, fields object) object {
	return object{"name": name, "typed_config": typed(messageType, fields)}
}

// typed adds the message's type to its fields.
func typed(messageType string, fields object) object {
	fields["@type"] = "type.googleapis.com/" + messageType
	return fields
}

// pipe is the address of a Unix socket; the mode is 0 for one that others listen on.
func pipe(path string, mode uint32) object {
	fields := object{"path": path}
	if mode != 0 {
		fields["mode"] = mode
	}
	return object{"pipe": fields}
}

func socketAddress(address string, port uint16) object {
	return object{"socket_address": object{"address": address, "port_value": port}}
}

// duration is written as protobuf's JSON form of google.protobuf.Duration.
type duration time.Duration

func (d duration) MarshalJSON() ([]byte, error) {
	return []byte(`"` + strconv.FormatFloat(time.Duration(d).Seconds(), 'f', -1, 64) + `s"`), nil
}
