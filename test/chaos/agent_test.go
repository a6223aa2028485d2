package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/test/testenv"
)

// agent is a running "fairlead-agent proxy".
type agent struct {
	t       testing.TB
	g       *WithT
	dir     string
	command *exec.Cmd
	logs    *logs
	done    chan struct{}
	client  *http.Client
}

// startAgent runs an agent and ends it after the test.
func startAgent(t testing.TB, dir string, arguments ...string) *agent {
	t.Helper()
	a := &agent{
		t: t, g: NewWithT(t), dir: dir, logs: &logs{}, done: make(chan struct{}),
		client: testenv.UnixClient(envoy.StatusSocket(dir)),
	}
	a.command = exec.Command(agentBinary, append([]string{"proxy", "--dir=" + dir}, arguments...)...)
	a.command.Stdout, a.command.Stderr = a.logs, a.logs
	// Envoy holds its standard error too, for the moment that it outlives the agent.
	a.command.WaitDelay = patience
	if err := a.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(a.done)
		_ = a.command.Wait()
	}()
	t.Cleanup(func() {
		a.hurry()
		if t.Failed() {
			t.Logf("The agent in %s logged:\n%s", dir, a.logs.tail(80))
		}
	})
	return a
}

// ready is the answer of /ready: the status code and the sentence.
func (a *agent) ready() (string, error) {
	response, err := a.client.Get("http://agent/ready")
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, strings.TrimSpace(string(body))), err
}

func (a *agent) becomesReady() {
	a.t.Helper()
	a.g.Eventually(a.ready).Within(patience).ProbeEvery(20*time.Millisecond).Should(HavePrefix("200 "), "Envoy gets its configuration")
}

// status is what /status says of Envoy.
func (a *agent) status() (status envoy.Status, err error) {
	err = a.readStatus(&status)
	return status, err
}

// complaint is what /status has to complain of: mounted certificates and configuration.
func (a *agent) complaint() (string, error) {
	var status struct{ Certificates, Configuration struct{ Complaint string } }
	err := a.readStatus(&status)
	return status.Certificates.Complaint + status.Configuration.Complaint, err
}

func (a *agent) readStatus(into any) error {
	response, err := a.client.Get("http://agent/status")
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	return json.NewDecoder(response.Body).Decode(into)
}

// epoch waits until the given one is live.
func (a *agent) epoch(n int) {
	a.t.Helper()
	a.g.Eventually(a.status).Within(patience).ProbeEvery(50*time.Millisecond).
		Should(And(HaveField("State", envoy.Live), HaveField("Epoch", n)), "the epoch becomes live")
}

// envoyPID is a process that exists, checked so that no other is ever signalled.
func (a *agent) envoyPID() int {
	a.t.Helper()
	status, err := a.status()
	a.g.Expect(err).NotTo(HaveOccurred())
	a.g.Expect(commandLine(status.PID)).To(ContainSubstring(a.dir))
	return status.PID
}

// gone waits until a process is.
func (a *agent) gone(pid int, why string) {
	a.t.Helper()
	a.g.Eventually(alive).WithArguments(pid).Within(patience).ProbeEvery(5*time.Millisecond).Should(BeFalse(), why)
}

// alive is false too for a process that nobody has waited for yet (proc_pid_stat(5)).
func alive(pid int) bool {
	content, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := bytes.Cut(content, []byte(") "))
	return err == nil && !bytes.HasPrefix(rest, []byte("Z")) && !bytes.HasPrefix(rest, []byte("X"))
}

// commandLine is empty for a process that is gone.
func commandLine(pid int) string {
	content, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return string(content)
}

// kill sends a signal to an Envoy, signal one to the agent.
func (a *agent) kill(pid int, signal syscall.Signal) {
	a.t.Helper()
	a.g.Expect(pid).To(BeNumerically(">", 1))
	a.g.Expect(syscall.Kill(pid, signal)).To(Succeed())
}

func (a *agent) signal(signal syscall.Signal) {
	a.t.Helper()
	a.g.Expect(a.command.Process.Signal(signal)).To(Succeed())
}

// hurry ends the agent without a drain: by a second SIGTERM, as soon as it has heard the
// first.
func (a *agent) hurry() {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		_ = a.command.Process.Signal(syscall.SIGTERM)
		select {
		case <-a.done:
			return
		case <-again.C:
		}
	}
	a.ends()
}

// ends waits until the agent has, and returns how.
func (a *agent) ends() string {
	a.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-a.done:
	case <-timer.C:
		_ = a.command.Process.Kill()
		a.t.Errorf("the agent in %s did not end", a.dir)
		<-a.done
	}
	return a.command.ProcessState.String()
}

// hotRestart asks for one as an operator does.
func (a *agent) hotRestart() {
	a.t.Helper()
	a.signal(syscall.SIGHUP)
}

// logs keeps what an agent writes.
type logs struct {
	mu      sync.Mutex
	content bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.content.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.content.String()
}

func (l *logs) tail(n int) string {
	lines := strings.Split(l.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
