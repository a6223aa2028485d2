package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/test/testenv"
)

// patience is for a machine that is busy with other things.
const patience = 30 * time.Second

func TestAgent(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "The agent with a real Envoy")
}

// built is the agent as it is released, envoyBinary the real Envoy.
var built, envoyBinary string

var _ = BeforeSuite(func() {
	var err error
	envoyBinary, err = testenv.Envoy()
	Expect(err).NotTo(HaveOccurred())
	folder, err := os.MkdirTemp("", "fairlead-agent-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(os.RemoveAll, folder)
	built = filepath.Join(folder, "fairlead-agent")
	Expect(testenv.Build(built, "./agent")).To(Succeed())
})

// agentProcess is an agent under test, in a folder of its own.
type agentProcess struct {
	*gexec.Session
	dir    string
	client *http.Client
}

// startAgent runs "fairlead-agent proxy" and ends it after the spec.
func startAgent(dir string, flags ...string) *agentProcess {
	GinkgoHelper()
	arguments := append([]string{
		"proxy", "--pod-name=reviews-v1", "--pod-namespace=shop", "--dir=" + dir, "--envoy=" + envoyBinary, "--concurrency=1",
		// Short, since the application of a spec goes on.
		"--min-drain=0s", "--drain-time=1s", "--parent-shutdown-time=2s", "--stop-timeout=2s", "--termination-grace-period=4s",
	}, flags...)
	session, err := gexec.Start(exec.Command(built, arguments...), GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	a := &agentProcess{Session: session, dir: dir, client: testenv.UnixClient(envoy.StatusSocket(dir))}
	DeferCleanup(func() {
		session.Terminate()
		Eventually(session).Within(patience).Should(gexec.Exit(), "the agent ends")
	})
	return a
}

// ready is the answer of /ready: the status code and the sentence.
func (a *agentProcess) ready() (string, error) {
	response, err := a.client.Get("http://agent/ready")
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, strings.TrimSpace(string(body))), err
}

func (a *agentProcess) becomesReady() {
	GinkgoHelper()
	Eventually(a.ready).Within(patience).Should(Equal("200 live: Envoy serves"), "Envoy gets its configuration")
}

// status is the answer of /status.
func (a *agentProcess) status() (status struct {
	envoy.Status
	Node string
}) {
	GinkgoHelper()
	response, err := a.client.Get("http://agent/status")
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	Expect(response.Header.Get("Content-Type")).To(Equal("application/json"))
	Expect(json.NewDecoder(response.Body).Decode(&status)).To(Succeed())
	return status
}

// envoyPID is a process that exists, checked so that no other is ever signalled.
func (a *agentProcess) envoyPID() int {
	GinkgoHelper()
	pid := a.status().PID
	Expect(commandLine(pid)).To(ContainSubstring(a.dir))
	return pid
}

// commandLine is empty for a process that is gone.
func commandLine(pid int) string {
	content, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return string(content)
}

// kill sends a signal to the Envoy of an agent.
func kill(pid int, signal syscall.Signal) {
	GinkgoHelper()
	Expect(pid).To(BeNumerically(">", 1))
	Expect(syscall.Kill(pid, signal)).To(Succeed())
}

var listenerAddress = regexp.MustCompile(`inbound::(127\.0\.0\.1:\d+)`)

// inbound is where Envoy's one listener is.
func (a *agentProcess) inbound() (string, error) {
	response, err := testenv.UnixClient(envoy.AdminSocket(a.dir)).Get("http://envoy/listeners")
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	found := listenerAddress.FindSubmatch(body)
	if found == nil {
		return "", fmt.Errorf("envoy has no listener: %q", body)
	}
	return string(found[1]), nil
}

// answer is what a request through Envoy gets: status, mark and body.
func (a *agentProcess) answer(ctx context.Context) (string, error) {
	address, err := a.inbound()
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return "", err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s %s", response.StatusCode, response.Header.Get("mark"), body), err
}

// resident is a process' resident memory in MiB, as its limit counts it.
func resident(pid int) (float64, error) {
	content, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			return kilobytes / 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmRSS", pid)
}
