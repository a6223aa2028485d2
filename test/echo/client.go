package echo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Patience is for a machine that is busy with other things; no answer is expected to take it.
const Patience = 60 * time.Second

// Reply is what a client got, with what the application saw if one was reached.
type Reply struct {
	Status int
	Header http.Header
	Body   string
	Seen   Seen
	// Version is that of the application that answered; empty if none did.
	Version string
}

// NewClient sends requests to a proxy, as HTTP_PROXY has most programs do.
func NewClient(proxy string) *http.Client {
	return client(&http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy}), MaxIdleConnsPerHost: 64})
}

// NewHTTP2Client sends HTTP/2 without TLS to a proxy, whatever host a URL names.
func NewHTTP2Client(proxy string) *http.Client {
	transport := &http.Transport{
		Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", proxy)
		},
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	return client(transport)
}

// NewDialingClient sends requests by the connections that it is given.
func NewDialingClient(dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Client {
	return client(&http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64})
}

func client(transport *http.Transport) *http.Client {
	return &http.Client{
		Timeout: Patience, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Send makes a request. Headers are given as name, value; "Host" is the authority, where it is
// to be another than the URL's.
func Send(client *http.Client, method, url, body string, headers ...string) (Reply, error) {
	// Not a spec's context: a request that is under way when it ends did not fail.
	request, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		return Reply{}, err
	}
	for pair := range slices.Chunk(headers, 2) {
		if pair[0] == "Host" {
			request.Host = pair[1]
			continue
		}
		request.Header.Add(pair[0], pair[1])
	}
	response, err := client.Do(request)
	if err != nil {
		return Reply{}, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return Reply{}, err
	}
	r := Reply{Status: response.StatusCode, Header: response.Header, Body: string(text)}
	if response.Header.Get(VersionHeader) != "" && method != http.MethodHead {
		if err := json.Unmarshal(text, &r.Seen); err != nil {
			return Reply{}, fmt.Errorf("the application's answer is broken: %w", err)
		}
		r.Version = r.Seen.Version
	}
	return r, nil
}

// Converse listens to the greeting of an application that speaks lines, says one and returns
// both answers. It closes the connection.
func Converse(connection net.Conn, line string) (greeting, answer string, err error) {
	defer func() { _ = connection.Close() }()
	if err := connection.SetDeadline(time.Now().Add(Patience)); err != nil {
		return "", "", err
	}
	reader := bufio.NewReader(connection)
	if greeting, err = reader.ReadString('\n'); err != nil {
		return "", "", fmt.Errorf("read the greeting: %w", err)
	}
	if _, err := fmt.Fprintln(connection, line); err != nil {
		return "", "", err
	}
	answer, err = reader.ReadString('\n')
	return greeting, answer, err
}
