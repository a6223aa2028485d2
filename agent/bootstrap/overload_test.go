package bootstrap_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/bootstrap"
)

// press replaces the file that Envoy watches, as the agent does.
func press(t *testing.T, path, value string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestPressureEndsConnectionsPolitely(t *testing.T) {
	dir := agentDir(t)
	config := least()
	// It need not exist when Envoy starts.
	config.PressureFile = filepath.Join(dir, "pressure-0")
	listen := filepath.Join(dir, "in.sock")
	get := runEnvoy(t, dir, built(t, dir, config, nil, []any{fromJSON(t, answering, listen, bootstrap.XDSCluster)}))
	eventually(t, "Envoy is live", func() (string, error) { return get("/ready") }, "LIVE")

	dial := func() net.Conn {
		connection, err := net.Dial("unix", listen)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = connection.Close() })
		if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		return connection
	}
	http1 := func() func() (closes bool) {
		connection := dial()
		reader := bufio.NewReader(connection)
		return func() bool {
			if _, err := io.WriteString(connection, "GET /direct HTTP/1.1\r\nhost: a\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			if response.StatusCode != http.StatusOK {
				t.Fatal(response.Status)
			}
			return response.Close
		}
	}
	idle := dial()
	if _, err := io.WriteString(idle, preface); err != nil {
		t.Fatal(err)
	}
	// Idle from here on, as HTTP/1.1 connections of a pool are.
	pooled := http1()
	if pooled() {
		t.Fatal("a connection is not kept, although nothing presses")
	}

	press(t, config.PressureFile, "1")
	if err := readGoAway(idle); err != nil {
		t.Errorf("an idle HTTP/2 connection: %v", err)
	}
	if !pooled() {
		t.Error("an HTTP/1.1 connection is kept")
	}
	for range 20 {
		// Its request comes later than the connection: the latter must not be ended before.
		ask := http1()
		if state, err := get("/ready"); err != nil || state != "LIVE\n" {
			t.Fatalf("Envoy is not live: %q, %v", state, err)
		}
		if !ask() {
			t.Error("a new HTTP/1.1 connection is kept")
		}
	}

	press(t, config.PressureFile, "0")
	eventually(t, "connections are kept again", func() (string, error) { return fmt.Sprint(http1()()), nil }, "false")
}

// preface is what an HTTP/2 client begins with, settings without any value included
// (RFC 9113, section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// readGoAway reads frames until the server asks to go.
func readGoAway(connection io.Reader) error {
	const goAway = 7
	for {
		var header [9]byte
		if _, err := io.ReadFull(connection, header[:]); err != nil {
			return fmt.Errorf("no GOAWAY before: %w", err)
		}
		payload := make([]byte, binary.BigEndian.Uint32(header[:4])>>8)
		if _, err := io.ReadFull(connection, payload); err != nil {
			return err
		}
		if header[3] != goAway {
			continue
		}
		if code := binary.BigEndian.Uint32(payload[4:]); code != 0 {
			return errors.New("GOAWAY with an error")
		}
		return nil
	}
}

func TestHeapIsWatched(t *testing.T) {
	dir := agentDir(t)
	config := least()
	// Less than what Envoy has at its start.
	config.HeapLimit = 1 << 20
	listen := filepath.Join(dir, "in.sock")
	get := runEnvoy(t, dir, built(t, dir, config, nil, []any{fromJSON(t, answering, listen, bootstrap.XDSCluster)}))
	eventually(t, "the actions", func() (string, error) { return get("/stats?filter=overload") },
		"overload.envoy.overload_actions.stop_accepting_requests.active: 1", "overload.envoy.overload_actions.shrink_heap.active: 1")
}
