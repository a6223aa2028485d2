package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/api/v1alpha1"
	meshvalues "fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/test/echo"
	"fairlead.dev/fairlead/test/testenv"
)

// workload is an echo under `fairlead run`, with its agent and its Envoy. Specs make
// requests by its outbound listener as if they were its application.
type workload struct {
	name, labels string
	// version is what the application says that it is.
	version string
	// ports are as `fairlead run --port` takes them, outboundTCP as --tcp does.
	ports       []string
	outboundTCP string
	// protocol is the agent's --xds-protocol; empty is its default.
	protocol string

	mesh    *mesh
	session *gexec.Session
	pod     corev1.Pod
	http    *http.Client
}

// start runs a workload until the spec or the suite ends.
func (m *mesh) start(w workload) *workload {
	GinkgoHelper()
	w.mesh = m
	self, err := os.Executable()
	Expect(err).NotTo(HaveOccurred())
	args := []string{"run", "--data", m.data, "--name", w.name, "--labels", w.labels}
	for _, port := range w.ports {
		args = append(args, "--port", port)
	}
	if w.outboundTCP != "" {
		args = append(args, "--tcp", w.outboundTCP)
	}
	args = append(args, "--", self, "echo", "--version", w.version, "--lines", "9000")
	if len(w.ports) == 0 {
		// It only calls; something has to be its application.
		args = append(args[:len(args)-6], "sleep", "infinity")
	}
	command := exec.Command(filepath.Join(programs(), "fairlead"), args...)
	command.Env = os.Environ()
	if w.protocol != "" {
		command.Env = append(command.Env, "FAIRLEAD_XDS_PROTOCOL="+w.protocol)
	}
	w.session = launch(w.name, command)
	DeferCleanup(func() { w.session.Terminate().Wait(patience) })
	return &w
}

// awaitReady returns once the workload's Pod is ready.
func (w *workload) awaitReady() {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		g.Expect(w.session).NotTo(gexec.Exit())
		g.Expect(w.mesh.Get(context.Background(), client.ObjectKey{Namespace: "default", Name: w.name}, &w.pod)).To(Succeed())
		g.Expect(w.pod.Status.Conditions).To(ContainElement(And(
			HaveField("Type", corev1.PodReady), HaveField("Status", corev1.ConditionTrue))))
	}).Should(Succeed(), "the Pod of %s gets ready", w.name)
	w.http = echo.NewClient(w.address(meshvalues.ExplicitOutboundPort))
}

// address is where a port of the workload's proxy is on this machine.
func (w *workload) address(port uint16) string {
	GinkgoHelper()
	ip, err := netip.ParseAddr(w.pod.Status.PodIP)
	Expect(err).NotTo(HaveOccurred())
	return netip.AddrPortFrom(meshvalues.LoopbackAddress(ip), port).String()
}

// tcpAddress is where the workload reaches the TCP service that it asked for.
func (w *workload) tcpAddress() string {
	GinkgoHelper()
	_, port, _ := strings.Cut(w.pod.Annotations[v1alpha1.OutboundTCPAnnotation], "=")
	number, err := strconv.ParseUint(port, 10, 16)
	Expect(err).NotTo(HaveOccurred())
	return w.address(uint16(number))
}

// folder is the agent's.
func (w *workload) folder() string { return filepath.Join(w.mesh.data, "run", w.pod.Status.PodIP) }

// signalEnvoy sends a signal to the workload's Envoy, which its agent names.
func (w *workload) signalEnvoy(signal syscall.Signal) {
	GinkgoHelper()
	var status envoy.Status
	Expect(w.agent(&status)).To(Succeed())
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", status.PID))
	Expect(err).NotTo(HaveOccurred())
	Expect(string(command)).To(ContainSubstring(w.folder()), "only our own Envoy is sent a signal")
	Expect(syscall.Kill(status.PID, signal)).To(Succeed())
}

// agent reads what the agent says of its proxy.
func (w *workload) agent(status any) error {
	response, err := testenv.UnixClient(envoy.StatusSocket(w.folder())).Get("http://agent/status")
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	return json.NewDecoder(response.Body).Decode(status)
}

// stat returns one of Envoy's figures.
func (w *workload) stat(name string) int {
	GinkgoHelper()
	found := w.stats(regexp.QuoteMeta(name))
	Expect(found).To(HaveLen(1), "the Envoy of %s has the figure %s", w.name, name)
	return found[0]
}

// stats returns those of Envoy's figures whose names a pattern matches.
func (w *workload) stats(pattern string) []int {
	GinkgoHelper()
	response, err := testenv.UnixClient(envoy.AdminSocket(w.folder())).Get("http://envoy/stats")
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	var values []int
	for _, found := range regexp.MustCompile(`(?m)^(?:`+pattern+`): (\d+)$`).FindAllSubmatch(body, -1) {
		value, err := strconv.Atoi(string(found[1]))
		Expect(err).NotTo(HaveOccurred())
		values = append(values, value)
	}
	return values
}
