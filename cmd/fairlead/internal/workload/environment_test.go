package workload

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVariables(t *testing.T) {
	o := valid()
	o.Ports = []string{"9080", "9081/tcp"}
	o.OutboundTCP = []string{"my-db.data:3306"}
	r, err := o.understand()
	if err != nil {
		t.Fatal(err)
	}
	a := &address{pod: netip.MustParseAddr("198.18.0.7"), local: netip.MustParseAddr("127.18.0.7")}
	apps := []appPort{
		{r.ports[0], netip.MustParseAddrPort("127.0.0.1:20000")},
		{r.ports[1], netip.MustParseAddrPort("127.0.0.1:20001")},
	}
	outbound := []outboundListener{{r.outboundTCP[0], netip.MustParseAddrPort("127.18.0.7:15100")}}
	want := []string{
		"FAIRLEAD_OUTBOUND_HTTP=127.18.0.7:15001",
		"FAIRLEAD_OUTBOUND_TCP_MY_DB_DATA_3306=127.18.0.7:15100",
		"HTTP_PROXY=http://127.18.0.7:15001",
		"NO_PROXY=localhost,127.0.0.1,::1",
		"PORT=20000",
		"PORT_9080=20000",
		"PORT_9081=20001",
		"POD_IP=198.18.0.7",
		"POD_NAME=reviews-v1",
		"POD_NAMESPACE=default",
		"http_proxy=http://127.18.0.7:15001",
		"no_proxy=localhost,127.0.0.1,::1",
	}
	got := variables(r, a, apps, outbound)
	if diff := cmp.Diff(sorted(want), got); diff != "" {
		t.Error(diff)
	}
	merged := merge([]string{"HOME=/home/me", "HTTP_PROXY=http://corporate", "PORT=1"}, []string{"HTTP_PROXY=x", "PORT=2"})
	if diff := cmp.Diff([]string{"HOME=/home/me", "HTTP_PROXY=x", "PORT=2"}, merged); diff != "" {
		t.Error(diff)
	}
}

// As Kubernetes does in a container's command and args.
func TestExpansion(t *testing.T) {
	set := []string{"PORT=20000", "POD_NAME=a"}
	for text, want := range map[string]string{
		"":                        "",
		"plain":                   "plain",
		"$(PORT)":                 "20000",
		"127.0.0.1:$(PORT)/x":     "127.0.0.1:20000/x",
		"$(PORT)$(POD_NAME)":      "20000a",
		"$$(PORT)":                "$(PORT)",
		"$$$(PORT)":               "$20000",
		"$(UNKNOWN) and $(PORT)":  "$(UNKNOWN) and 20000",
		"$PORT":                   "$PORT",
		"$(PORT":                  "$(PORT",
		"ends with $":             "ends with $",
		"sh's ${PORT} and $(date": "sh's ${PORT} and $(date",
	} {
		if got := expand(text, set); got != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
}
