package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// reply is what a client got, with what the application saw if one was reached.
type reply struct {
	Status int
	Header http.Header
	Body   string
	seen   seen
	// Version is that of the application that answered; empty if none did.
	Version string
}

// newClient sends requests to a proxy, as HTTP_PROXY has most programs do.
func newClient(proxy string) *http.Client {
	return &http.Client{
		Timeout: patience,
		Transport: &http.Transport{
			Proxy:               http.ProxyURL(&url.URL{Scheme: "http", Host: proxy}),
			MaxIdleConnsPerHost: 64,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// newHTTP2Client sends HTTP/2 without TLS to a proxy, whatever host a URL names.
func newHTTP2Client(proxy string) *http.Client {
	transport := &http.Transport{
		Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", proxy)
		},
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: transport, Timeout: patience}
}

// get sends a GET request by the workload's proxy. Headers are given as name, value.
func (w *workload) get(url string, headers ...string) reply {
	GinkgoHelper()
	return w.send(http.MethodGet, url, headers...)
}

func (w *workload) send(method, url string, headers ...string) reply {
	GinkgoHelper()
	r, err := send(w.http, method, url, headers...)
	Expect(err).NotTo(HaveOccurred(), "the proxy of %s answers every request", w.name)
	return r
}

func send(client *http.Client, method, url string, headers ...string) (reply, error) {
	// Not a spec's context: a request that is under way when it ends did not fail.
	request, err := http.NewRequestWithContext(context.Background(), method, url, nil)
	if err != nil {
		return reply{}, err
	}
	for pair := range slices.Chunk(headers, 2) {
		request.Header.Add(pair[0], pair[1])
	}
	response, err := client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return reply{}, err
	}
	r := reply{Status: response.StatusCode, Header: response.Header, Body: string(body)}
	if response.Header.Get("Echo-Version") != "" {
		if err := json.Unmarshal(body, &r.seen); err != nil {
			return reply{}, fmt.Errorf("the echo's answer is broken: %w", err)
		}
		r.Version = r.seen.Version
	}
	return r, nil
}
