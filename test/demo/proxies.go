package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// proxy is a workload's agent, by its folder.
type proxy struct {
	name, folder string
}

// proxyStatus is what an agent says of its Envoy.
type proxyStatus struct {
	State string `json:"state"`
	Epoch int    `json:"epoch"`
	PID   int    `json:"pid"`
}

func (t *story) proxy(ctx context.Context, name string) (proxy, error) {
	var pod corev1.Pod
	if err := t.client.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, &pod); err != nil {
		return proxy{}, err
	}
	return proxy{name, filepath.Join(t.data, "run", pod.Status.PodIP)}, nil
}

// status asks the agent, which answers while Envoy does not.
func (p proxy) status(ctx context.Context) (status proxyStatus, err error) {
	return status, p.ask(ctx, &status)
}

// client makes a connection for each question to the agent.
func (p proxy) client() *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(p.folder, "status.sock"))
		},
	}}
}

// lookInterval is how exact the times are that another Envoy takes: shorter than what is
// timed by far, unlike that of until.
const lookInterval = 10 * time.Millisecond

// changed returns how long it takes until another Envoy than before is live.
func (t *story) changed(ctx context.Context, p proxy, before proxyStatus) (now proxyStatus, took time.Duration, err error) {
	began := time.Now()
	for {
		now, err = p.status(ctx)
		took = time.Since(began)
		switch {
		case err == nil && now.State == "live" && now.PID != before.PID:
			return now, took, nil
		case took > startTimeout:
			return now, took, errors.Join(fmt.Errorf("another Envoy of %s: not live within %s", p.name, startTimeout), err)
		}
		if err := errors.Join(t.ended(), pause(ctx, lookInterval)); err != nil {
			return now, took, err
		}
	}
}

func (t *story) hotRestarts(ctx context.Context) error {
	t.restartsBegan = time.Now()
	t.say("# SIGHUP makes an agent start the next epoch of its Envoy, which takes over from the one that serves.")
	live := 0
	for _, name := range []string{"front-v1", "reviews-v1", "reviews-v2", "ratings-v1"} {
		p, err := t.proxy(ctx, name)
		if err != nil {
			return err
		}
		before, err := p.status(ctx)
		if err != nil {
			return err
		}
		lock := filepath.Join(p.folder, "lock")
		content, err := os.ReadFile(lock)
		if err != nil {
			return err
		}
		agent, err := strconv.Atoi(string(bytes.TrimSpace(content)))
		if err != nil {
			return fmt.Errorf("%s: %w", lock, err)
		}
		t.say("$ kill -HUP $(cat %s)   # %s", lock, name)
		if err := syscall.Kill(agent, syscall.SIGHUP); err != nil {
			return fmt.Errorf("signal the agent of %s: %w", name, err)
		}
		now, took, err := t.changed(ctx, p, before)
		if err != nil {
			return err
		}
		if now.Epoch == before.Epoch+1 {
			live++
		}
		t.say("epoch %d, pid %d -> epoch %d, pid %d; live after %s", before.Epoch, before.PID, now.Epoch, now.PID, took.Round(time.Millisecond))
	}
	t.say("\n# The predecessors serve what they had open, and end in 45 s. Some more load meanwhile:")
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	t.restartsDone = time.Now()
	t.told.judge("Hot restarts: Envoys that are at their next epoch, of 4", live == 4, "%d", live)
	return nil
}

func (t *story) kill(ctx context.Context) error {
	p, err := t.proxy(ctx, "reviews-v2")
	if err != nil {
		return err
	}
	before, err := p.status(ctx)
	if err != nil {
		return err
	}
	t.say("# A crash is not a restart: who calls reviews v2 just now may be answered 503, until its agent has waited")
	t.say("# 200 ms and started another Envoy.")
	t.load = t.caller.startLoad(loadInterval)
	if err := pause(ctx, 500*time.Millisecond); err != nil {
		return err
	}
	t.say("$ kill -KILL %d   # the Envoy of %s", before.PID, p.name)
	killed := time.Now()
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill the Envoy of %s: %w", p.name, err)
	}
	now, took, err := t.changed(ctx, p, before)
	if err != nil {
		return err
	}
	t.say("epoch %d, pid %d; live after %s", now.Epoch, now.PID, took.Round(time.Millisecond))
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	all := t.load.stop()
	t.load = nil
	failed, kinds := all.failures()
	var last time.Duration
	for _, r := range all {
		if r.err != nil {
			last = max(last, r.begun.Sub(killed))
		}
	}
	t.say("%d requests, from half a second before to a second after: %s", len(all), all)
	t.reasons(kinds)
	t.told.judge("kill -9 of an Envoy: another one is live", now.PID != before.PID, "%t", now.PID != before.PID)
	// How many fail is a matter of where requests were just then.
	t.told.note("kill -9 of an Envoy: live after; requests that failed", "%s; %d of %d, the last %s after", took.Round(time.Millisecond), failed, len(all), last.Round(time.Millisecond))
	return nil
}
