package bootstrap

import (
	"bytes"
	"encoding/json"
	"fmt"
)

const (
	typePrefix = "type.googleapis.com/"
	// maxRegexProgram is the largest compiled size of a regular expression, in instructions.
	maxRegexProgram = 32768
)

// Build returns the bootstrap as indented JSON that ends with a newline.
func Build(c Config) ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	m := message{
		Node:             nodeOf(c),
		Admin:            adminAt(c.AdminSocket),
		DynamicResources: dynamicResourcesOf(c),
		StaticResources:  staticResources{Clusters: clustersOf(c)},
		StatsConfig:      statsConfigOf(),
		// A request for statistics is what merges them, so that it is told the newest, and
		// none are lost to Prometheus by a hot restart: a successor goes on with what its
		// predecessor counted after the last merge (tried; with Envoy's timer of 5 s, those
		// since the last request were lost, and each idle Envoy had to wake up for it).
		StatsFlushOnAdmin: true,
		// Counters of a cluster that no request has used yet take no memory. Together
		// with the matcher: 27 KB a cluster instead of 54 (measured, 1.40.0).
		DeferredStats:   deferredStats{Enable: true},
		OverloadManager: overloadManagerOf(c),
		LayeredRuntime: layeredRuntime{Layers: []runtimeLayer{
			{Name: "limits", StaticLayer: map[string]any{
				// Envoy's own limit is 100 instructions, which an expression such as
				// [a-z0-9-]{1,64} exceeds. Istio's limit, so that what works there works here.
				"re2.max_program_size.error_level": maxRegexProgram,
			}},
			// Lets an operator flip a runtime guard by the administration interface;
			// without a layer of this kind Envoy refuses to.
			{Name: "admin", AdminLayer: &struct{}{}},
		}},
	}
	if c.ProofSocket != "" {
		m.StaticResources.Listeners = []listener{proofListener(c)}
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
func nodeOf(c Config) node {
	metadata := map[string]any{
		"NAME":      c.Pod,
		"NAMESPACE": c.Namespace,
		"WORKLOAD":  c.Workload,
	}
	if c.ServiceAccount != "" {
		metadata["SERVICE_ACCOUNT"] = c.ServiceAccount
	}
	if len(c.Labels) > 0 {
		metadata["LABELS"] = c.Labels
	}
	for key, value := range map[string]string{
		"AGENT_VERSION": c.AgentVersion,
		"CERTS_DIR":     c.CertsDir,
		"REVISION":      c.Revision,
	} {
		if value != "" {
			metadata[key] = value
		}
	}
	n := node{
		ID:       c.Namespace + "/" + c.Pod,
		Cluster:  c.Workload + "." + c.Namespace,
		Metadata: metadata,
	}
	if c.Locality != (Locality{}) {
		n.Locality = &c.Locality
	}
	return n
}

// adminAt serves the administration interface on a socket that only our own user can
// reach: it can shut Envoy down and shows its configuration. Its connections do not
// count towards the limit, because they are needed most when that is reached.
func adminAt(socket string) admin {
	return admin{
		Address:               address{Pipe: &pipe{Path: socket, Mode: 0o600}},
		IgnoreGlobalConnLimit: true,
	}
}
