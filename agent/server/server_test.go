package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fairlead.dev/fairlead/agent/envoy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onSocket serves at a Unix socket and returns its path and what ends it.
func onSocket(t *testing.T, o Options) (path string, stop func()) {
	t.Helper()
	// Short enough for a socket, which that of TempDir often is not.
	dir, err := os.MkdirTemp("/tmp", "fl-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "status.sock")
	listener, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, Serve(listener, o)
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	connection, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return connection
}

// ask sends a request on a connection of its own and returns status line and body.
func ask(t *testing.T, path, request string) (string, string) {
	t.Helper()
	connection := dial(t, path)
	if _, err := io.WriteString(connection, request); err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, connection)
}

func readAnswer(t *testing.T, connection net.Conn) (string, string) {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.Status, string(body)
}

const getReady = "GET /ready HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n"

func TestSocketIsOurOwn(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "fl-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "status.sock")

	// Left by an agent that was killed: the file is there, and nobody answers.
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}

	listener, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v, want 0600", info.Mode(), err)
	}
	stop := Serve(listener, Options{Node: "a/b", Status: func() envoy.Status { return envoy.Status{} }})
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "--status-address "+path+" is in use by another program") {
		t.Errorf("a socket that is answered on was taken: %v", err)
	}
	stop()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	if _, err := Listen(filepath.Join(dir, "missing", "status.sock")); err == nil || !strings.Contains(err.Error(), "--status-address ") {
		t.Errorf("a socket in a folder that is missing: %v", err)
	}
}

// Whoever has more callers than it takes is there all the same.
func TestABusySocketIsLeft(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "fl-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "status.sock")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for {
		caller, err := net.Dial("unix", path)
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = caller.Close() }()
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "is in use by another program") {
		t.Errorf("the socket of a busy program was taken: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestTakenPortIsExplained(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	address := taken.Addr().String()
	if _, err := Listen(address); err == nil || err.Error() != "--status-address "+address+" is in use by another program: choose another one" {
		t.Errorf("a port that is taken: %v", err)
	}
}

// The Unix socket is for our own user only, so whoever asks there may.
func TestQuitOverTheSocket(t *testing.T) {
	asked := make(chan struct{})
	path, stop := onSocket(t, Options{Node: node, Status: in(envoy.Live), Quit: func() { close(asked) }})
	defer stop()
	status, body := ask(t, path, "POST /quitquitquit HTTP/1.1\r\nHost: agent\r\nContent-Length: 0\r\n\r\n")
	if status != "200 OK" || body != "stopping\n" {
		t.Errorf("answered by %s %q", status, body)
	}
	<-asked
}

func TestAsMuchHeaderAsNeeded(t *testing.T) {
	path, stop := onSocket(t, Options{Node: node, Status: in(envoy.Live)})
	defer stop()
	status, _ := ask(t, path, "GET /ready HTTP/1.1\r\nHost: agent\r\nX: "+strings.Repeat("x", 16<<10)+"\r\n\r\n")
	if !strings.HasPrefix(status, "431") {
		t.Errorf("16 KiB of header is answered by %s", status)
	}
}

// Whoever opens connections and says nothing closes its own, not those of probes.
func TestSilentClientsDoNotKeepProbesOut(t *testing.T) {
	path, stop := onSocket(t, Options{Node: node, Status: in(envoy.Live)})
	defer stop()
	first := dial(t, path)
	for range mostConnections + 10 {
		connection := dial(t, path)
		// Less than a request.
		if _, err := io.WriteString(connection, "GET /re"); err != nil {
			t.Fatal(err)
		}
	}
	if status, body := ask(t, path, getReady); status != "200 OK" || body != "live: so it is\n" {
		t.Errorf("a probe is answered by %s %q", status, body)
	}
	if n, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the first silent connection is still open: %d bytes, %v", n, err)
	}
}

// A client that leaves the server waiting is left, whatever it does not send.
func TestSilentClientsAreLeft(t *testing.T) {
	path, stop := onSocket(t, Options{Node: node, Status: in(envoy.Live), Quit: func() {}})
	// After the tests below, which go on when this function has returned.
	t.Cleanup(stop)
	for name, request := range map[string]string{
		"half a request":        "GET /ready HTTP/1.1\r\nHost: agent\r\n",
		"a body never sent":     "POST /quitquitquit HTTP/1.1\r\nHost: agent\r\nContent-Length: 10\r\n\r\n",
		"chunks that never end": "GET /status HTTP/1.1\r\nHost: agent\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connection := dial(t, path)
			if _, err := io.WriteString(connection, request); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, connection); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is still open")
			}
		})
	}
}

// A stream that nobody reads must not be in the way of those who ask for little.
func TestNobodyWaitsForASlowScraper(t *testing.T) {
	writing := make(chan struct{}, 1)
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 64<<10)
		for {
			select {
			case writing <- struct{}{}:
			default:
			}
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	path, stop := onSocket(t, Options{Node: node, Status: in(envoy.Live), Metrics: endless})
	defer stop()
	scraper := dial(t, path)
	if _, err := io.WriteString(scraper, "GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-writing
	for range 100 {
		if status, _ := ask(t, path, getReady); status != "200 OK" {
			t.Fatalf("answered by %s", status)
		}
	}
}

// When the agent ends, so does whatever somebody waits for.
func TestStopEndsRequests(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	path, stop := onSocket(t, Options{Node: node, Status: in(envoy.Live), AppHealth: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(ended)
	})})
	connection := dial(t, path)
	if _, err := io.WriteString(connection, "GET /app-health/web/livez HTTP/1.1\r\nHost: agent\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-begun
	stop()
	select {
	case <-ended:
	default:
		t.Error("the request goes on after the server has ended")
	}
	if _, err := new(net.Dialer).DialContext(context.Background(), "unix", path); err == nil {
		t.Error("the socket is still answered on")
	}
}
