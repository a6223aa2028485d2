package bootstrap_test

import (
	"path/filepath"
	"strings"
	"testing"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/test/testenv"
)

// Dashboards rely on these: a name tells what is counted, labels of what.
func TestStatisticsHaveLabels(t *testing.T) {
	dir := agentDir(t)
	const name = "outbound|80|v1|reviews.shop.svc.cluster.local"
	listen := filepath.Join(dir, "in.sock")
	config := least()
	config.Apps = []bootstrap.App{app(9080, "127.0.0.1:1")}
	get := runEnvoy(t, dir, built(t, dir, config,
		[]any{fromJSON(t, `{"name": %q, "type": "STATIC", "connect_timeout": "1s"}`, name)},
		[]any{fromJSON(t, answering, listen, name)}))
	client := testenv.UnixClient(listen)
	eventually(t, "a request", func() (string, error) {
		response, err := client.Get("http://reviews/")
		if err != nil {
			return "", err
		}
		return response.Status, response.Body.Close()
	}, "503")

	const service = `envoy_cluster_name="` + name + `",destination_port="80",destination_subset="v1",destination_host="reviews.shop.svc.cluster.local"} `
	eventually(t, "statistics", func() (string, error) { return get("/stats/prometheus") },
		`envoy_cluster_membership_total{`+service+"0\n",
		`envoy_cluster_upstream_rq_total{`+service,
		`envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",`+service+"1\n",
		`envoy_cluster_external_upstream_rq_xx{envoy_response_code_class="5",`+service+"1\n",
		`envoy_cluster_membership_total{envoy_cluster_name="fairlead-xds"} 1`,
		`envoy_cluster_circuit_breakers_default_cx_open{envoy_cluster_name="fairlead-xds"} 0`,
		`envoy_cluster_membership_total{envoy_cluster_name="app|9080",destination_port="9080"} 1`,
		// What a drain looks at.
		`envoy_listener_downstream_cx_active{listener="inbound"} 0`,
		`envoy_http_downstream_cx_active{envoy_http_conn_manager_prefix="inbound_8080"} 0`,
		`envoy_http_downstream_cx_http1_active{envoy_http_conn_manager_prefix="inbound_8080"} 0`,
		`envoy_http_downstream_cx_http2_active{envoy_http_conn_manager_prefix="inbound_8080"} 0`,
		`envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix="inbound_8080"} 0`,
		`envoy_http_downstream_rq_xx{envoy_response_code_class="5",envoy_http_conn_manager_prefix="inbound_8080"} 1`,
		`envoy_server_live{} 1`, `envoy_server_hot_restart_epoch{} 0`,
		`envoy_server_total_connections{}`, `envoy_server_parent_connections{}`,
	)
	got, err := get("/stats/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(got) {
		metric, _, _ := strings.Cut(line, "{")
		if strings.Contains(metric, "svc_cluster") || strings.Contains(metric, "9080") {
			t.Errorf("a metric is named after what it counts of: %s", line)
		}
	}
}
