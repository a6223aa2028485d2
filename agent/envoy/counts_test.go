package envoy

import "testing"

// Names as Envoy has them; that they are asked for, the agent's own suite shows.
func TestCount(t *testing.T) {
	got, err := count(`cluster.fairlead-xds.ssl.connection_error: 1
cluster.outbound|80||reviews.shop.svc.cluster.local.ssl.fail_verify_san: 2
http.admin.downstream_rq_total: 100
http.inbound_9080.downstream_cx_active: 4
http.inbound_9080.downstream_rq_total: 10
http.outbound.downstream_cx_active: 1
http.outbound.downstream_rq_total: 100
listener.inbound.downstream_cx_active: 6
listener.inbound.ssl.connection_error: 3
listener.inbound.ssl.fail_verify_error: 4
listener.outbound.downstream_cx_active: 2
listener.proof.downstream_cx_active: 100
listener.proof.ssl.connection_error: 100
tcp.inbound_5432.downstream_cx_total: 5
`)
	want := Counts{Requests: 10, HandshakesFailed: 10, CertificatesRefused: 6, RawTaken: 5, NotHTTP: 3}
	if err != nil || got != want {
		t.Errorf("counted %+v, %v, want %+v", got, err, want)
	}
	if _, err := count("http.inbound_1.downstream_rq_total: many\n"); err == nil {
		t.Error("taken for a number")
	}
}
