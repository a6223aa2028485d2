package bootstrap_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/test/testenv"
)

var update = flag.Bool("update", false, "write testdata anew from what Build returns")

// least is the shortest configuration that is taken.
func least() bootstrap.Config {
	return bootstrap.Config{
		Namespace: "default", Pod: "ratings-v1", Workload: "ratings-v1",
		XDSSocket: "/run/fairlead/xds.sock", AdminSocket: "/run/agent/admin.sock",
	}
}

func app(port uint16, address string) bootstrap.App {
	return bootstrap.App{Port: port, Address: netip.MustParseAddrPort(address)}
}

// Golden files are read by people: they show what a sidecar starts from.
func TestGolden(t *testing.T) {
	everything := bootstrap.Config{
		Namespace: "shop", Pod: "reviews-v2-6bb4c-x2x8f", Workload: "reviews-v2", ServiceAccount: "reviews",
		Labels:       map[string]string{"version": "v2", "app": "reviews", "example.com/text": `<&"> ü`},
		Locality:     bootstrap.Locality{Region: "eu-north", Zone: "eu-north-1a", SubZone: "rack-7"},
		AgentVersion: "v1.2.3",
		XDSAddress:   "fairlead-manager.fairlead-system:15010", XDSServerName: "spiffe://cluster.local/ns/fairlead-system/sa/fairlead-manager",
		DNSFamily: bootstrap.DNSAll, Protocol: bootstrap.StateOfTheWorld, InitialFetchTimeout: 1500 * time.Millisecond,
		Revision: "canary", CertsDir: "/run/agent/certs", ProofSocket: "/run/agent/proof.sock",
		SystemRoots: "/run/agent/certs/current/root-cert.pem", PressureFile: "/run/agent/pressure-0", HeapLimit: 192 << 20,
		// Out of order, IPv6 too.
		Apps:        []bootstrap.App{app(9090, "[::1]:9090"), app(80, "127.0.0.1:40123"), app(8443, "127.18.0.7:8443")},
		AdminSocket: "/run/agent/admin.sock", MaxConnections: 512, ChecksHealth: true,
	}
	for name, config := range map[string]bootstrap.Config{"least": least(), "everything": everything} {
		t.Run(name, func(t *testing.T) {
			got, err := bootstrap.Build(config)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("Build differs from %s; if that is meant, run the test with -update and read the diff. It is now\n%s", path, got)
			}
			validate(t, got)
		})
	}
}

// validate asks the real Envoy, with a folder that has what the bootstrap names.
func validate(t *testing.T, content []byte) {
	t.Helper()
	content = bytes.ReplaceAll(content, []byte("/run/agent"), []byte(agentDir(t)))
	if err := testenv.ValidateEnvoy(t.Context(), content); err != nil {
		t.Error(err)
	}
}

// A changed file is to mean a changed configuration.
func TestSameConfigGivesSameBytes(t *testing.T) {
	config := least()
	config.Labels = map[string]string{}
	for _, key := range strings.Fields("a b c d e f g h i j k l m n o p") {
		config.Labels[key] = "1"
	}
	config.Apps = []bootstrap.App{app(2, "127.0.0.1:2"), app(1, "127.0.0.1:1"), app(3, "127.0.0.1:3")}
	first, err := bootstrap.Build(config)
	if err != nil {
		t.Fatal(err)
	}
	if config.Apps[0].Port != 2 {
		t.Error("Build sorted the caller's own slice")
	}
	config.Apps[0], config.Apps[1] = config.Apps[1], config.Apps[0]
	for range 20 {
		next, err := bootstrap.Build(config)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, next) {
			t.Fatalf("two results for one configuration:\n%s\n%s", first, next)
		}
	}
}

// Where Envoy would listen, and what others have to agree with.
func TestNothingListensOnTheNetwork(t *testing.T) {
	config := least()
	config.Apps = []bootstrap.App{app(9080, "127.0.0.1:40123")}
	content, err := bootstrap.Build(config)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Node  struct{ ID, Cluster string }
		Admin struct {
			Address struct {
				Pipe struct {
					Path string
					Mode int
				}
			}
		}
		StaticResources struct {
			Clusters  []struct{ Name string }
			Listeners []any
		} `json:"static_resources"`
	}
	if err := json.Unmarshal(content, &read); err != nil {
		t.Fatal(err)
	}
	if read.Node.ID != "default/ratings-v1" || read.Node.Cluster != "ratings-v1.default" {
		t.Errorf("the node is %+v", read.Node)
	}
	if pipe := read.Admin.Address.Pipe; pipe.Path != "/run/agent/admin.sock" || pipe.Mode != 0o600 {
		t.Errorf("the administration interface is at %q with mode %#o", pipe.Path, pipe.Mode)
	}
	if len(read.StaticResources.Listeners) != 0 {
		t.Errorf("there are static listeners: %v", read.StaticResources.Listeners)
	}
	if c := read.StaticResources.Clusters; len(c) != 2 || c[0].Name != bootstrap.XDSCluster || c[1].Name != "app|9080" {
		t.Errorf("the static clusters are %v", c)
	}
}
