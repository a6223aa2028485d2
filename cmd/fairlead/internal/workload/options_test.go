package workload

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func valid() Options {
	return Options{Name: "reviews-v1", Namespace: "default", ServiceAccount: "reviews", Drain: time.Second, Grace: time.Second, Command: []string{"reviews"}}
}

func TestWhatIsUnderstood(t *testing.T) {
	o := valid()
	o.Labels = "app=reviews,version=v1,empty="
	o.Ports = []string{"9080", "9081/grpc", "9082/tcp", "9083/http2"}
	o.OutboundTCP = []string{"mysql:3306", "mysql.data:3306", "cache.data.svc:6379", "db.data.svc.cluster.local:5432"}
	r, err := o.understand()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"app": "reviews", "version": "v1", "empty": ""}, r.labels); diff != "" {
		t.Error(diff)
	}
	ports := []port{{9080, "http"}, {9081, "grpc"}, {9082, "tcp"}, {9083, "http2"}}
	if diff := cmp.Diff(ports, r.ports, cmp.AllowUnexported(port{})); diff != "" {
		t.Error(diff)
	}
	var hosts []string
	for _, tcp := range r.outboundTCP {
		hosts = append(hosts, tcp.host)
	}
	want := []string{"mysql.default.svc.cluster.local", "mysql.data.svc.cluster.local", "cache.data.svc.cluster.local", "db.data.svc.cluster.local"}
	if diff := cmp.Diff(want, hosts); diff != "" {
		t.Error(diff)
	}
}

// Each refusal names the flag and what is wrong with it.
func TestWhatIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Options)
		want   []string
	}{
		"no name":              {func(o *Options) { o.Name = "" }, []string{"--name is missing"}},
		"name in upper case":   {func(o *Options) { o.Name = "Reviews" }, []string{`--name "Reviews"`, "lower case"}},
		"namespace with a dot": {func(o *Options) { o.Namespace = "a.b" }, []string{`--namespace "a.b"`}},
		"no command":           {func(o *Options) { o.Command = nil }, []string{"the command is missing", `"--"`}},
		"label without value":  {func(o *Options) { o.Labels = "app" }, []string{"--labels", `"app"`, "key=value"}},
		"label twice":          {func(o *Options) { o.Labels = "a=1,a=2" }, []string{"--labels", `"a" twice`}},
		"label's value":        {func(o *Options) { o.Labels = "a=b c" }, []string{"--labels", "a=b c"}},
		"our own label":        {func(o *Options) { o.Labels = "app.kubernetes.io/managed-by=me" }, []string{"--labels", "sets itself"}},
		"port 0":               {func(o *Options) { o.Ports = []string{"0"} }, []string{"--port", `"0" is not a port`}},
		"port too high":        {func(o *Options) { o.Ports = []string{"65536"} }, []string{"--port", `"65536" is not a port`}},
		"protocol":             {func(o *Options) { o.Ports = []string{"80/udp"} }, []string{"--port", `"udp" is none of`}},
		"port twice":           {func(o *Options) { o.Ports = []string{"80", "80/tcp"} }, []string{"--port", `"80" is given twice`}},
		"the proxy's port":     {func(o *Options) { o.Ports = []string{"15001"} }, []string{"--port", "outbound requests"}},
		"tcp without port":     {func(o *Options) { o.OutboundTCP = []string{"mysql"} }, []string{"--tcp", "SERVICE:PORT"}},
		"tcp by address":       {func(o *Options) { o.OutboundTCP = []string{"10.0.0.1:1"} }, []string{"--tcp", "is not the name of a service"}},
		"tcp outside":          {func(o *Options) { o.OutboundTCP = []string{"db.example.com:1"} }, []string{"--tcp", "is not the name of a service"}},
		"tcp twice":            {func(o *Options) { o.OutboundTCP = []string{"a:1", "a.default:1"} }, []string{"--tcp", "given twice"}},
		"negative drain":       {func(o *Options) { o.Drain = -1 }, []string{"--drain"}},
		"no grace":             {func(o *Options) { o.Grace = 0 }, []string{"--grace"}},
		"a gateway's command":  {func(o *Options) { o.Gateway, o.Grace = true, 0 }, []string{"--gateway runs no command", `"-- reviews"`}},
		"all of a command": {func(o *Options) {
			o.Gateway, o.Command, o.Ports, o.OutboundTCP = true, nil, []string{"8080"}, []string{"a:1"}
		}, []string{"--port does not go with --gateway", "--tcp does not go with --gateway", "--grace does not go with --gateway"}},
		"several at once": {func(o *Options) { o.Name, o.Labels, o.Ports = "", "x", []string{"y"} },
			[]string{"--name", "--labels", "--port"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := valid()
			test.change(&o)
			_, err := o.understand()
			if err == nil {
				t.Fatal("was accepted")
			}
			for _, words := range test.want {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%q does not say %q", err, words)
				}
			}
		})
	}
}
