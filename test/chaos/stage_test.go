package chaos

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/translate"
	"fairlead.dev/fairlead/test/testenv"
)

// stage is a small mesh with its control plane and workloads, for one event.
type stage struct {
	t     *testing.T
	g     *WithT
	dir   string
	store *mesh.Store
	plane *plane
	// part is the third part of all addresses, so that runs do not meet.
	part    string
	version int
	// change is made to each listener before it is served.
	change    func(*workload, *listenerv3.Listener)
	workloads []*workload
}

// workload is an application with its agent.
type workload struct {
	stage *stage
	mesh  *mesh.Workload
	// host is the loopback address of the proxy, behind that of the application.
	host, behind string
	app          *app
	// dir is the agent's folder.
	dir       string
	arguments []string
	*agent
}

func newStage(t *testing.T) *stage {
	t.Helper()
	dir, err := testenv.SocketDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &stage{
		t: t, g: NewWithT(t), dir: dir, store: mesh.NewStore(),
		part:  strconv.Itoa(os.Getpid() % 250),
		plane: startPlane(t, filepath.Join(dir, "xds.sock")),
	}
}

// add makes a workload with an application behind it. Nothing is served, nor is its agent
// started, until told.
func (s *stage) add(name string) *workload {
	s.t.Helper()
	last := 10 + len(s.workloads)
	w := &workload{
		stage: s, dir: filepath.Join(s.dir, name),
		host: fmt.Sprintf("127.18.%s.%d", s.part, last), behind: fmt.Sprintf("127.18.%s.%d", s.part, last+100),
		mesh: &mesh.Workload{
			Namespace: "shop", Name: name, Ready: true, Explicit: true,
			Address: netip.MustParseAddr(fmt.Sprintf("198.18.%s.%d", s.part, last)),
			Ports:   []mesh.WorkloadPort{{Number: httpPort, Protocol: mesh.HTTP}, {Number: grpcPort, Protocol: mesh.GRPC}, {Number: tcpPort, Protocol: mesh.TCP}},
		},
	}
	w.app = startApp(s.t, w.behind)
	binary, err := testenv.Envoy()
	if err != nil {
		s.t.Fatal(err)
	}
	w.arguments = []string{
		"--pod-name=" + name, "--pod-namespace=shop", "--xds-socket=" + s.plane.socket, "--envoy=" + binary, "--concurrency=2",
		"--drain-time=1s", "--parent-shutdown-time=3s", "--certs-dir=" + filepath.Join(s.dir, "no-certificates"),
	}
	for _, port := range w.mesh.Ports {
		w.arguments = append(w.arguments, fmt.Sprintf("--app=%d=%s:%d", port.Number, w.behind, port.Number))
	}
	s.workloads = append(s.workloads, w)
	return w
}

// serve brings what the mesh is now to the proxies.
func (s *stage) serve() {
	s.t.Helper()
	for _, w := range s.workloads {
		s.store.SetWorkload(w.mesh)
	}
	s.version++
	for _, w := range s.workloads {
		s.plane.serve(s.store, w.mesh, strconv.Itoa(s.version), func(r translate.Resource) {
			listener, ok := r.Message.(*listenerv3.Listener)
			if !ok {
				return
			}
			if r.Name == fmt.Sprintf("inbound|%d", httpPort) {
				// As the listeners of intercepting proxies have it; the others have one socket.
				listener.EnableReusePort = wrapperspb.Bool(true)
			}
			if s.change != nil {
				s.change(w, listener)
			}
		})
	}
}

// start runs the agent and waits until its proxy serves. Arguments given here overrule.
func (w *workload) start(arguments ...string) {
	w.stage.t.Helper()
	w.agent = startAgent(w.stage.t, w.dir, slices.Concat(w.arguments, arguments)...)
	w.becomesReady()
}

// at is the address of a port of the proxy.
func (w *workload) at(port int) string { return w.host + ":" + strconv.Itoa(port) }

// target is everything that the workload serves.
func (w *workload) target() target {
	return target{http: w.at(httpPort), grpc: w.at(grpcPort), tcp: w.at(tcpPort)}
}
