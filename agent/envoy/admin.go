package envoy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Admin talks to Envoy's administration interface. Each request has a connection of
// its own: on a kept one the predecessor would go on answering after a hot restart.
type Admin struct {
	client http.Client
}

// NewAdmin uses the Unix socket at the given path.
func NewAdmin(socket string) *Admin {
	return &Admin{client: http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

// serverState is Envoy's own word for what it does:
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/server_info.proto
type serverState string

const (
	serverLive            serverState = "LIVE"
	serverDraining        serverState = "DRAINING"
	serverPreInitializing serverState = "PRE_INITIALIZING"
	serverInitializing    serverState = "INITIALIZING"
)

// state asks /ready, whose body says it whatever the status code.
func (a *Admin) state(ctx context.Context) (serverState, error) {
	body, err := a.get(ctx, "/ready", nil)
	if err != nil {
		return "", err
	}
	switch s := serverState(strings.TrimSpace(body)); s {
	case serverLive, serverDraining, serverPreInitializing, serverInitializing:
		return s, nil
	default:
		return "", fmt.Errorf("envoy answered /ready with %.60q", body)
	}
}

// connected tells whether Envoy has a stream to its control plane.
func (a *Admin) connected(ctx context.Context) (bool, error) {
	const stat = "control_plane.connected_state"
	body, err := a.get(ctx, "/stats", url.Values{"filter": {"^" + strings.ReplaceAll(stat, ".", `\.`) + "$"}})
	if err != nil {
		return false, err
	}
	return strings.TrimSpace(body) == stat+": 1", nil
}

func (a *Admin) get(ctx context.Context, path string, query url.Values) (string, error) {
	target := url.URL{Scheme: "http", Host: "envoy", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return "", err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return "", fmt.Errorf("read envoy's answer to %s: %w", path, err)
	}
	return string(body), nil
}
