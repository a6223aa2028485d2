package certmanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/settings"
	"fairlead.dev/fairlead/test/testenv"
)

// patience is for a machine that is busy with other things.
const patience = 90 * time.Second

// threads start programs: a child's parent-death signal is sent when the thread that made it
// ends (prctl(2)), and Go ends threads as it likes.
var threads = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

// launch starts one of Fairlead's programs, which writes to a log; stop has it end as Ctrl-C
// would.
func launch(log string, args ...string) (stop func() error, err error) {
	output, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	command := exec.Command(filepath.Join(testenv.Root(), "bin", "fairlead"), args...)
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	threads() <- func() { started <- command.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%w: run `make build envoy kube`", err)
	}
	return func() error {
		return errors.Join(command.Process.Signal(syscall.SIGTERM), command.Wait(), output.Close())
	}, nil
}

// startMesh runs `fairlead up` with everything in a folder of its own.
func startMesh() (stop func() error, err error) {
	if cluster.data, err = testenv.SocketDir(); err != nil {
		return nil, err
	}
	cluster.kubeconfig = filepath.Join(cluster.data, "kubeconfig")
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	log := filepath.Join(cluster.data, "up.log")
	end, err := launch(log, "up", "--data", cluster.data, "--api-port", strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	stop = func() error { return errors.Join(end(), os.RemoveAll(cluster.data)) }
	for deadline := time.Now().Add(patience); ; {
		said, err := os.ReadFile(log)
		switch {
		case err == nil && regexp.MustCompile(`Fairlead is up`).Match(said):
			return stop, nil
		case time.Now().After(deadline):
			return nil, errors.Join(fmt.Errorf("the mesh did not start: %s", said), stop())
		}
		pause()
	}
}

// pause is between two looks at something.
func pause() { <-time.After(50 * time.Millisecond) }

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

// answer is the application behind a proxy.
func answer() error {
	return http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}))
}

// workload is one of the mesh, with its agent and its Envoy.
type workload struct {
	t    *testing.T
	name string
	ip   netip.Addr
}

// runWorkload runs a workload until the test ends; its service account has its name.
func runWorkload(t *testing.T, name string) *workload {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(cluster.data, name+".log")
	stop, err := launch(log, "run", "--data", cluster.data, "--namespace", shop, "--name", name, "--service-account", name,
		"--labels", "app="+name, "--port", "9080", "--", self, "answer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil && t.Failed() {
			said, _ := os.ReadFile(log)
			t.Logf("%s ended with %v: %s", name, err, said)
		}
	})
	return &workload{t: t, name: name}
}

func (w *workload) awaitReady() {
	w.t.Helper()
	eventually(w.t, w.name+" gets ready", func() error {
		pod, err := cluster.kubernetes.CoreV1().Pods(shop).Get(w.t.Context(), w.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				w.ip, err = netip.ParseAddr(pod.Status.PodIP)
				return err
			}
		}
		return errors.New("it is not ready")
	})
}

func (w *workload) folder() string { return filepath.Join(cluster.data, "run", w.ip.String()) }

// certificate is what the agent says of what its Envoy serves.
func (w *workload) certificate() (certs.Status, error) {
	var status struct{ Certificates certs.Status }
	said, err := get(testenv.UnixClient(envoy.StatusSocket(w.folder())), "http://agent/status")
	if err == nil {
		err = json.Unmarshal(said, &status)
	}
	return status.Certificates, err
}

// counted adds up Envoy's counters that a pattern matches.
func (w *workload) counted(pattern string) int {
	w.t.Helper()
	said, err := get(testenv.UnixClient(envoy.AdminSocket(w.folder())), "http://envoy/stats?usedonly")
	if err != nil {
		w.t.Fatal(err)
	}
	total := 0
	for _, found := range regexp.MustCompile(`(?m)^(?:`+pattern+`): (\d+)$`).FindAllSubmatch(said, -1) {
		n, _ := strconv.Atoi(string(found[1]))
		total += n
	}
	return total
}

// Between sidecars, without those by which an agent asks its own Envoy.
const (
	connections      = `listener\.inbound.*\.downstream_cx_total`
	failedHandshakes = `(?:listener|cluster)\.(?:inbound|outbound).*\.ssl\.(?:connection_error|fail_.*)`
)

func get(client *http.Client, url string) ([]byte, error) {
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	return io.ReadAll(response.Body)
}

// load is constant load from a workload, by its proxy.
type load struct {
	sent, failed atomic.Int64
	first        atomic.Value
}

// startLoad sends requests until stop.
func startLoad(from *workload, to string) (l *load, stop func()) {
	const interval = 5 * time.Millisecond
	proxy := &url.URL{Scheme: "http", Host: netip.AddrPortFrom(mesh.LoopbackAddress(from.ip), mesh.ExplicitOutboundPort).String()}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{Proxy: http.ProxyURL(proxy), MaxIdleConnsPerHost: 64}}
	ctx, cancel := context.WithCancel(context.Background())
	l = &load{}
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				running.Go(func() { l.send(client, to) })
			}
		}
	})
	return l, sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
}

func (l *load) send(client *http.Client, to string) {
	response, err := client.Get(to)
	l.sent.Add(1)
	if err == nil {
		_ = response.Body.Close()
		if response.StatusCode == http.StatusNoContent {
			return
		}
		err = errors.New(response.Status)
	}
	l.failed.Add(1)
	l.first.CompareAndSwap(nil, err.Error())
}

// use puts the mesh's settings in force: between sidecars there is mutual TLS only.
func use(t *testing.T, issuer string) {
	t.Helper()
	text := "mtls: STRICT\nmaxConnectionAge: 5s\ncertificates:\n  timeZone: Etc/UTC\n  renewal: {jitter: 0, windows: [{start: \"00:00\", end: \"00:00\"}]}\n  root: {rawConnectionDeadline: 0s}\n"
	if issuer != "" {
		text += "  issuerRef: {kind: ClusterIssuer, name: " + issuer + "}\n"
	}
	maps := cluster.kubernetes.CoreV1().ConfigMaps(system)
	object, err := maps.Get(t.Context(), settings.Name, metav1.GetOptions{})
	if err == nil {
		object.Data = map[string]string{settings.Key: text}
		_, err = maps.Update(t.Context(), object, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until something holds; the error says why it does not yet.
func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; pause() {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in %s: %v", what, patience, err)
		}
	}
}
