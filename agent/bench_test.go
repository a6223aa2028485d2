package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/test/testenv"
)

// What a sidecar may cost on top of Envoy, by a workload.
const (
	mostMegabytesOnDisk = 16
	mostMiBResident     = 18
)

// measured returns an error if the agent is heavier than it may be.
func measured(pid int) error {
	info, err := os.Stat(built)
	if err != nil {
		return err
	}
	if megabytes := float64(info.Size()) / 1e6; megabytes > mostMegabytesOnDisk {
		return fmt.Errorf("the agent's binary has %.1f MB, and may have %d", megabytes, mostMegabytesOnDisk)
	}
	mib, err := resident(pid)
	if err != nil {
		return err
	}
	if mib > mostMiBResident {
		return fmt.Errorf("the agent has %.1f MiB of resident memory, and may have %d", mib, mostMiBResident)
	}
	return nil
}

// BenchmarkStart starts the agent with a control plane that has an answer ready, until
// it says that Envoy is live. It fails if the agent is heavier than it may be. Run it
// with -benchtime 10x or so.
func BenchmarkStart(b *testing.B) {
	dir, agent := prepare(b)
	alone := []string{"--config-path", filepath.Join(dir, "envoy-rev0.json"), "--disable-hot-restart", "--concurrency", "1", "--log-level", "off"}
	var withAgent, withoutAgent time.Duration
	var most float64
	for b.Loop() {
		took, stop := live(b, built, agent, envoy.StatusSocket(dir))
		withAgent += took
		most = max(most, stop(func(pid int) float64 {
			mib, err := resident(pid)
			if err == nil {
				err = measured(pid)
			}
			if err != nil {
				b.Error(err)
			}
			return mib
		}))
		took, stop = live(b, envoyBinary, alone, envoy.AdminSocket(dir))
		withoutAgent += took
		stop(func(int) float64 { return 0 })
	}
	info, err := os.Stat(built)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(withAgent.Milliseconds())/float64(b.N), "ms-to-live")
	b.ReportMetric(float64(withoutAgent.Milliseconds())/float64(b.N), "ms-Envoy-alone")
	b.ReportMetric(float64(info.Size())/1e6, "MB-binary")
	b.ReportMetric(most, "MiB-resident")
}

// live starts a program and returns how long it took until /ready on its socket said
// so. The function that it returns looks at the process once more and ends it.
func live(b *testing.B, program string, arguments []string, socket string) (time.Duration, func(func(pid int) float64) float64) {
	b.Helper()
	command := exec.Command(program, arguments...)
	command.Stderr = os.Stderr
	started := time.Now()
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	client := testenv.UnixClient(socket)
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for {
		response, err := client.Get("http://program/ready")
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(started) > patience {
			_ = command.Process.Kill()
			b.Fatalf("%s was not live after %s: %v", program, patience, err)
		}
		<-pace.C
	}
	took := time.Since(started)
	return took, func(look func(pid int) float64) float64 {
		seen := look(command.Process.Pid)
		if err := command.Process.Signal(os.Interrupt); err != nil {
			b.Error(err)
		}
		if err := command.Wait(); err != nil {
			b.Errorf("%s ended: %v", program, err)
		}
		return seen
	}
}

// prepare builds the agent, starts a control plane for it and returns its folder and
// command line.
func prepare(b *testing.B) (dir string, arguments []string) {
	b.Helper()
	base, err := testenv.SocketDir()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(base) })
	built = filepath.Join(base, "fairlead-agent")
	if err := testenv.Build(built, "./agent"); err != nil {
		b.Fatal(err)
	}
	if envoyBinary, err = testenv.Envoy(); err != nil {
		b.Fatal(err)
	}
	socket, dir := filepath.Join(base, "xds.sock"), filepath.Join(base, "agent")
	c, err := startControlPlane(socket)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.stop)
	if err := c.serve(node, "1", toApp("app|9080", "1")); err != nil {
		b.Fatal(err)
	}
	return dir, []string{
		"proxy", "--pod-name=reviews-v1", "--pod-namespace=shop", "--xds-socket=" + socket, "--app=9080=127.0.0.1:1",
		"--dir=" + dir, "--envoy=" + envoyBinary, "--concurrency=1", "--log-level=error", "--envoy-log-level=critical",
		"--min-drain=0s", "--drain-time=1s", "--parent-shutdown-time=2s",
	}
}
