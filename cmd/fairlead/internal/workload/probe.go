package workload

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"time"
)

// probeTimeout is for an answer from this very machine.
const probeTimeout = 2 * time.Second

// prober asks the agent and the command's ports how they are.
type prober struct {
	agent http.Client
	apps  []netip.AddrPort
}

// proxyPatience is when a person is told what the command still waits for.
const proxyPatience = 3 * time.Second

// newProber reads the agent's answers from the socket in its folder.
func newProber(folder string, apps []appPort) *prober {
	p := &prober{agent: http.Client{Timeout: probeTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(folder, "status.sock"))
		},
	}}}
	for _, app := range apps {
		p.apps = append(p.apps, app.local)
	}
	return p
}

// proxy returns nil if the agent says that Envoy serves.
func (p *prober) proxy(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/ready", nil)
	if err != nil {
		return err
	}
	response, err := p.agent.Do(request)
	if err != nil {
		return fmt.Errorf("the agent does not answer: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	words, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("the agent does not answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("envoy is %s", strings.TrimSpace(string(words)))
	}
	return nil
}

// app returns nil if the command accepts connections on all of its ports.
func (p *prober) app(ctx context.Context) error {
	for _, address := range p.apps {
		connection, err := (&net.Dialer{Timeout: probeTimeout}).DialContext(ctx, "tcp", address.String())
		if err != nil {
			return fmt.Errorf("the command does not listen on %s yet", address)
		}
		_ = connection.Close()
	}
	return nil
}

// awaitProxy waits until the proxy serves, so that the command's first call finds it.
func (w *workload) awaitProxy(ctx context.Context) error {
	prober := newProber(w.folder, nil)
	patience := time.NewTimer(proxyPatience)
	defer patience.Stop()
	again := time.NewTicker(probeSoon)
	defer again.Stop()
	for {
		err := prober.proxy(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-w.agent.Done():
			return w.agent.Exit()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-patience.C:
			w.Say("the proxy is awaited: %v", err)
		case <-again.C:
		}
	}
}
