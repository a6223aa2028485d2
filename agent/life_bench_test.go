package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/test/testenv"
)

// idleTime is how long an agent is left alone.
const idleTime = 60 * time.Second

// BenchmarkIdle leaves an agent alone, but for a readiness probe every 10 s, which is the
// kubelet's default. It is run with -benchtime 1x.
func BenchmarkIdle(b *testing.B) {
	dir, agent := prepare(b)
	var used, waited time.Duration
	for b.Loop() {
		_, stop := live(b, built, agent, envoy.StatusSocket(dir))
		client := testenv.UnixClient(envoy.StatusSocket(dir))
		probe := time.NewTicker(10 * time.Second)
		end := time.After(idleTime)
		started := time.Now()
		stop(func(pid int) float64 {
			before := processorTime(b, pid)
			for idle := true; idle; {
				select {
				case <-probe.C:
					get(b, client, "/ready")
				case <-end:
					idle = false
				}
			}
			used += processorTime(b, pid) - before
			waited += time.Since(started)
			return 0
		})
		probe.Stop()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(100*used.Seconds()/waited.Seconds(), "%-CPU-idle")
}

// BenchmarkRestarts restarts Envoy hot, by SIGHUP, and then kills it, until it serves
// again. From the second the delay of the first rescue token is taken off.
func BenchmarkRestarts(b *testing.B) {
	dir, agent := prepare(b)
	client := testenv.UnixClient(envoy.StatusSocket(dir))
	var hot, rescued time.Duration
	for b.Loop() {
		_, stop := live(b, built, agent, envoy.StatusSocket(dir))
		stop(func(pid int) float64 {
			started := time.Now()
			if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
				b.Fatal(err)
			}
			await(b, client, func(s envoy.Status) bool { return s.Epoch == 1 && s.State == envoy.Live })
			hot += time.Since(started)
			before := current(b, client)
			started = time.Now()
			if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
				b.Fatal(err)
			}
			await(b, client, func(s envoy.Status) bool { return s.PID != before.PID && s.State == envoy.Live })
			rescued += time.Since(started) - 200*time.Millisecond
			return 0
		})
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(hot.Milliseconds())/float64(b.N), "ms-hot-restart")
	b.ReportMetric(float64(rescued.Milliseconds())/float64(b.N), "ms-rescue-after-the-delay")
}

func await(b *testing.B, client *http.Client, reached func(envoy.Status) bool) {
	b.Helper()
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-pace.C {
		if reached(current(b, client)) {
			return
		}
	}
	b.Fatalf("never reached: %+v", current(b, client))
}

func current(b *testing.B, client *http.Client) (status envoy.Status) {
	b.Helper()
	if err := json.Unmarshal(get(b, client, "/status"), &status); err != nil {
		b.Fatal(err)
	}
	return status
}

func get(b *testing.B, client *http.Client, path string) []byte {
	b.Helper()
	response, err := client.Get("http://agent" + path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.Fatal(err)
	}
	return body
}

// processorTime is what the threads of a process have used until now, in nanoseconds, of
// the first field of schedstat (the kernel's sched-stats.rst): an idle agent takes less
// in a minute than the hundredths of a second of other counts can tell.
func processorTime(b *testing.B, pid int) (used time.Duration) {
	b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		b.Fatalf("no thread of %d is to be seen: %v", pid, err)
	}
	for _, thread := range threads {
		content, err := os.ReadFile(thread)
		if err != nil {
			b.Fatal(err)
		}
		running, _, _ := strings.Cut(string(content), " ")
		n, err := strconv.ParseInt(running, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		used += time.Duration(n)
	}
	return used
}
