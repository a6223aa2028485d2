// Package probe hands the kubelet's probes on to the application. With a sidecar that
// takes the Pod's connections the kubelet, which has no identity in the mesh, could not
// reach the application itself; so the injector turns the containers' probes into GET
// requests to the agent, and tells the agent what they were.
//
// What counts as success is what the kubelet would have said:
// https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/
//
// It never decides anything of its own, never verifies the application's certificate,
// as the kubelet does not, and never sends a request anywhere but where it was told by
// Parse's JSON.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// mostBody is as much as the kubelet reads of an answer.
	mostBody = 10 << 10
	// slowKubelet is how much longer who asks may take to read the answer.
	slowKubelet = 5 * time.Second
)

// DefaultAddress is where applications of the same Pod are.
const DefaultAddress = "127.0.0.1"

// prober asks the application. The request is the one that the agent was asked by. An
// error says in a sentence why the probe failed.
type prober interface {
	probe(ctx context.Context, asked *http.Request) (result, error)
}

// result is a success, or what the application itself answered.
type result struct {
	code        int
	contentType string
	body        []byte
}

// NewHandler answers the paths of the probes. Address is the application's, without a
// port; DefaultAddress as a rule. The status is 200 to 399 if the probe succeeds: for an
// HTTP probe the application's own. If the application does not answer, or is not
// serving, it is 503 and the body says why.
func NewHandler(probes Probes, address string) http.Handler {
	mux := http.NewServeMux()
	for path, p := range probes {
		timeout := p.Timeout
		prober := newProber(p, address)
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			answer(w, r, prober, timeout)
		})
	}
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		sentence := "no container has such a probe; those that have one are asked at:"
		for _, path := range slices.Sorted(maps.Keys(probes)) {
			sentence += "\n" + path
		}
		plain(w, http.StatusNotFound, sentence)
	})
	return mux
}

func newProber(p Probe, address string) prober {
	switch {
	case p.HTTPGet != nil:
		return newHTTPProber(*p.HTTPGet, address)
	case p.TCPSocket != nil:
		return tcpProber{hostPort(p.TCPSocket.Host, address, p.TCPSocket.Port)}
	default:
		return newGRPCProber(*p.GRPC, address)
	}
}

// hostPort takes the address for a host that is not given.
func hostPort(host, address string, port uint16) string {
	if host == "" {
		host = address
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func answer(w http.ResponseWriter, r *http.Request, p prober, timeout time.Duration) {
	// Not every writer has deadlines; the server's have.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout + slowKubelet))
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	got, err := p.probe(ctx, r)
	switch {
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		plain(w, http.StatusServiceUnavailable, fmt.Sprintf("the application had not answered within %s", timeout))
	case err != nil:
		plain(w, http.StatusServiceUnavailable, err.Error())
	default:
		if got.contentType != "" {
			w.Header().Set("Content-Type", got.contentType)
		}
		w.WriteHeader(got.code)
		// An error means that the caller went away.
		_, _ = w.Write(got.body)
	}
}

func plain(w http.ResponseWriter, code int, sentence string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, sentence+"\n")
}

// tcpProber succeeds if the application takes the connection.
type tcpProber struct{ address string }

func (p tcpProber) probe(ctx context.Context, _ *http.Request) (result, error) {
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return result{}, explain(err)
	}
	_ = connection.Close()
	return result{code: http.StatusOK, contentType: "text/plain; charset=utf-8", body: []byte("the application takes connections at " + p.address + "\n")}, nil
}

// explain makes a sentence of a network's error.
func explain(err error) error {
	return fmt.Errorf("the application does not answer: %s", strings.TrimPrefix(err.Error(), "Get "))
}
