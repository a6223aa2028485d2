package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/server"
	"fairlead.dev/fairlead/test/testenv"
)

// waited runs a command and returns its exit status and what it printed.
func waited(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, complaints bytes.Buffer
	status = run(ctx, args, environment{}.lookup, &out, &complaints)
	return status, out.String(), complaints.String()
}

// agentDir is a folder for an agent whose sockets' paths are short.
func agentDir(t *testing.T) string {
	t.Helper()
	dir, err := testenv.SocketDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// serveAt is an agent of which only the status server exists.
func serveAt(t *testing.T, address string, o server.Options) {
	t.Helper()
	listener, err := server.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Serve(listener, o))
}

func TestWaitTellsWhatItWaitsFor(t *testing.T) {
	dir := agentDir(t)
	reasons := []string{"validating", "validating", "waiting for the control plane", "waiting for the control plane", ""}
	serveAt(t, envoy.StatusSocket(dir), server.Options{Node: node, Status: func() envoy.Status {
		reason := reasons[0]
		if len(reasons) > 1 {
			reasons = reasons[1:]
		}
		if reason == "" {
			return envoy.Status{State: envoy.Live, Reason: "Envoy serves"}
		}
		return envoy.Status{State: envoy.Starting, Reason: reason}
	}})
	status, stdout, stderr := waited(t.Context(), "wait", "--dir="+dir, "--interval=1ms")
	if status != 0 || stdout != "fairlead-agent wait: live: Envoy serves\n" ||
		stderr != "fairlead-agent wait: starting: validating\nfairlead-agent wait: starting: waiting for the control plane\n" {
		t.Errorf("exit status %d after\n%s%s", status, stderr, stdout)
	}
}

// firstWrite is closed when something is told.
type firstWrite struct {
	bytes.Buffer
	done chan struct{}
}

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.Len() == 0 {
		defer close(w.done)
	}
	return w.Buffer.Write(p)
}

func TestWaitBeforeTheAgentExists(t *testing.T) {
	dir := agentDir(t)
	stderr := &firstWrite{done: make(chan struct{})}
	var stdout bytes.Buffer
	status := make(chan int)
	go func() {
		status <- run(t.Context(), []string{"wait", "--dir=" + dir, "--interval=1ms"}, environment{}.lookup, &stdout, stderr)
	}()
	<-stderr.done
	serveAt(t, envoy.StatusSocket(dir), server.Options{Node: node, Status: func() envoy.Status {
		return envoy.Status{State: envoy.Live, Reason: "Envoy serves"}
	}})
	if got := <-status; got != 0 || stdout.String() != "fairlead-agent wait: live: Envoy serves\n" {
		t.Errorf("exit status %d and %q", got, stdout.String())
	}
	if want := fmt.Sprintf("fairlead-agent wait: no agent answers at %s/status.sock (connect: no such file or directory): start \"fairlead-agent proxy\" with the same --dir or --status-address\n", dir); stderr.String() != want {
		t.Errorf("told\n%swant\n%s", stderr.String(), want)
	}
}

func TestWaitEndsInTime(t *testing.T) {
	starting := agentDir(t)
	serveAt(t, envoy.StatusSocket(starting), server.Options{Node: node, Status: func() envoy.Status {
		return envoy.Status{State: envoy.Starting, Reason: "waiting for the control plane"}
	}})
	stuck, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stuck.Close() }()
	for _, test := range []struct{ flag, want string }{
		{"--dir=" + starting, "fairlead-agent wait: not ready after 1s: starting: waiting for the control plane; see the agent's log, or wait longer with --timeout\n"},
		{"--dir=" + agentDir(t), "start \"fairlead-agent proxy\" with the same --dir or --status-address; see the agent's log, or wait longer with --timeout\n"},
		{"--status-address=" + stuck.Addr().String(), "not ready after 1s: the agent at " + stuck.Addr().String() + " takes connections and does not answer; see"},
	} {
		status, stdout, stderr := waited(t.Context(), "wait", "--timeout=1s", test.flag)
		lines := strings.SplitAfter(strings.TrimSuffix(stderr, "\n"), "\n")
		if status != exitFailed || stdout != "" || !strings.Contains(lines[len(lines)-1]+"\n", test.want) {
			t.Errorf("%s: exit status %d after\n%s%s", test.flag, status, stderr, stdout)
		}
	}
}

func TestWaitIsInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	if status, _, stderr := waited(ctx, "wait", "--dir="+agentDir(t)); status != exitFailed || stderr != "fairlead-agent wait: told to stop: context canceled\n" {
		t.Errorf("exit status %d after\n%s", status, stderr)
	}
}

func TestWaitAtAnotherProgram(t *testing.T) {
	path := filepath.Join(agentDir(t), "other.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	other := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = other.Serve(listener) }()
	defer func() { _ = other.Close() }()
	_, _, stderr := waited(t.Context(), "wait", "--timeout=1s", "--status-address="+path)
	if want := "whatever answers at " + path + " is no agent: give --status-address as the agent has it\n"; !strings.Contains(stderr, want) {
		t.Errorf("told\n%s", stderr)
	}
}

func TestQuit(t *testing.T) {
	dir := agentDir(t)
	asked := make(chan struct{})
	serveAt(t, envoy.StatusSocket(dir), server.Options{Node: node, Status: func() envoy.Status { return envoy.Status{} }, Quit: func() { close(asked) }})
	status, stdout, stderr := waited(t.Context(), "quit", "--dir="+dir)
	if want := "fairlead-agent quit: asked the agent at " + dir + "/status.sock to stop: stopping\n"; status != 0 || stdout != want {
		t.Errorf("exit status %d after\n%s%s", status, stderr, stdout)
	}
	<-asked

	status, _, stderr = waited(t.Context(), "quit", "--dir="+agentDir(t))
	if status != exitFailed || !strings.HasPrefix(stderr, "fairlead-agent quit: no agent answers at ") {
		t.Errorf("without an agent: exit status %d after\n%s", status, stderr)
	}
	unwilling := agentDir(t)
	serveAt(t, envoy.StatusSocket(unwilling), server.Options{Node: node, Status: func() envoy.Status { return envoy.Status{} }})
	status, _, stderr = waited(t.Context(), "quit", "--dir="+unwilling)
	if status != exitFailed || !strings.Contains(stderr, "/status.sock refuses: 404 page not found\n") {
		t.Errorf("of an agent that cannot be asked: exit status %d after\n%s", status, stderr)
	}
}

func TestWaitFlags(t *testing.T) {
	for _, test := range []struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		{[]string{"wait", "--help"}, 0, "Exit status: 0 once the proxy is ready, 1 if it was not in time", ""},
		{[]string{"quit", "--help"}, 0, "Exit status: 0 if the agent was asked", ""},
		{[]string{"wait", "--timeout=0"}, exitUsage, "", "fairlead-agent wait: --timeout is 0s: use a longer time, such as 1m\n"},
		{[]string{"wait", "--interval=1us"}, exitUsage, "", "fairlead-agent wait: --interval is 1µs: use 1ms or longer, such as 100ms\n"},
		{[]string{"wait", "--status-address=15021"}, exitUsage, "", "fairlead-agent wait: --status-address is \"15021\": write HOST:PORT"},
		{[]string{"quit", "--timeout=1m"}, exitUsage, "", "unknown flag: --timeout"},
	} {
		status, stdout, stderr := waited(t.Context(), test.args...)
		if status != test.status || !strings.Contains(stdout, test.stdout) || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%v: exit status %d\n%s%s", test.args, status, stdout, stderr)
		}
	}
}
