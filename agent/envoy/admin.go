package envoy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
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

// maxAnswer is more than any answer that is asked for has: /server_info lists all of
// Envoy's extensions, which is 60 KB.
const maxAnswer = 1 << 20

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

// epochState is state, but of the epoch given: an error as long as another one answers.
// It must not ask for statistics: an Envoy that is asked for some takes over what its
// predecessor counts, and loses it as long as it has no counters of that name yet.
func (a *Admin) epochState(ctx context.Context, epoch int) (serverState, error) {
	body, err := a.get(ctx, "/server_info", nil)
	if err != nil {
		return "", err
	}
	var info struct {
		State   serverState `json:"state"`
		Options struct {
			Epoch int `json:"restart_epoch"`
		} `json:"command_line_options"`
	}
	if err := json.Unmarshal([]byte(body), &info); err != nil {
		return "", fmt.Errorf("envoy answered /server_info with %.60q: %w", body, err)
	}
	if info.Options.Epoch != epoch {
		return "", fmt.Errorf("epoch %d still answers in place of epoch %d", info.Options.Epoch, epoch)
	}
	return info.State, nil
}

// drainInbound makes Envoy say with its answers that connections end. It goes on taking
// new ones: without skip_exit it would stop to listen once its drain time is over.
func (a *Admin) drainInbound(ctx context.Context) error {
	_, err := a.do(ctx, http.MethodPost, "/drain_listeners", url.Values{"graceful": {""}, "inboundonly": {""}, "skip_exit": {""}})
	return err
}

// only asks for one statistic.
func only(stat string) url.Values {
	return url.Values{"filter": {"^" + strings.ReplaceAll(stat, ".", `\.`) + "$"}}
}

// connected tells whether Envoy has a stream to its control plane.
func (a *Admin) connected(ctx context.Context) (bool, error) {
	const stat = "control_plane.connected_state"
	body, err := a.get(ctx, "/stats", only(stat))
	if err != nil {
		return false, err
	}
	return strings.TrimSpace(body) == stat+": 1", nil
}

func (a *Admin) get(ctx context.Context, path string, query url.Values) (string, error) {
	return a.do(ctx, http.MethodGet, path, query)
}

func (a *Admin) do(ctx context.Context, method, path string, query url.Values) (string, error) {
	target := url.URL{Scheme: "http", Host: "envoy", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), nil)
	if err != nil {
		return "", err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("read envoy's answer to %s: %w", path, err)
	}
	return string(body), nil
}

// Statistic is one of Envoy's counters or gauges.
func (a *Admin) Statistic(ctx context.Context, name string) (int64, error) {
	body, err := a.get(ctx, "/stats", only(name))
	if err != nil {
		return 0, err
	}
	value, ok := strings.CutPrefix(strings.TrimSpace(body), name+": ")
	if !ok {
		return 0, fmt.Errorf("envoy has no statistic %s", name)
	}
	return strconv.ParseInt(value, 10, 64)
}
