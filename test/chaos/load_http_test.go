package chaos

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// What is asked for in HTTP: about 2,100 requests a second where the machine allows it, so
// that 1,000 are left where it is busy. Every twentieth takes a while, so that some are
// under way whatever happens.
const (
	fastWorkers  = 16
	fastInterval = 16 * time.Millisecond
	newWorkers   = 2
	newInterval  = 20 * time.Millisecond
	// slowly asks the application to take slow for it.
	slowly = "X-Slowly"
	slow   = 100 * time.Millisecond
)

func (l *load) startHTTP(to target) {
	// HTTP/1.1 has a connection for each worker, which is kept; HTTP/2 two for all.
	var kept []*http.Client
	for range fastWorkers {
		kept = append(kept, l.client(to, false))
	}
	one := l.sort(http1)
	l.repeat(fastWorkers, fastInterval, func(worker, turn int) { one.ask(kept[worker], to, turn) })

	each := l.sort(http1New)
	l.repeat(newWorkers, newInterval, func(_, turn int) {
		client := l.newClient(to, false)
		each.ask(client, to, turn)
		client.CloseIdleConnections()
	})

	shared := []*http.Client{l.client(to, true), l.client(to, true)}
	two := l.sort(http2)
	l.repeat(fastWorkers, fastInterval, func(worker, turn int) { two.ask(shared[worker%len(shared)], to, turn) })
}

// client is a new one whose connections end with the load.
func (l *load) client(to target, isHTTP2 bool) *http.Client {
	client := l.newClient(to, isHTTP2)
	l.closers = append(l.closers, client.CloseIdleConnections)
	return client
}

func (l *load) newClient(to target, isHTTP2 bool) *http.Client {
	protocols := new(http.Protocols)
	switch {
	case !isHTTP2:
		protocols.SetHTTP1(true)
	case to.tls != nil:
		protocols.SetHTTP2(true)
	default:
		protocols.SetUnencryptedHTTP2(true)
	}
	transport := &http.Transport{
		Protocols:           protocols,
		MaxIdleConnsPerHost: 1,
		TLSHandshakeTimeout: patience,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, to.http)
		},
	}
	if to.tls != nil {
		transport.TLSClientConfig = to.tls.Clone()
	}
	return &http.Client{Transport: transport, Timeout: patience}
}

// ask sends a body and wants it back.
func (s *sort) ask(client *http.Client, to target, turn int) {
	s.attempt(func() error {
		body := bytes.Repeat([]byte{'a' + byte(turn%26)}, 100+turn%900)
		url := "http://"
		if to.tls != nil {
			url = "https://"
		}
		host := to.httpHost
		if host == "" {
			host = to.http
		}
		// A body of which the client knows no copy: it cannot send the request again by
		// itself, so that whatever is lost is seen.
		request, err := http.NewRequest(http.MethodPost, url+host+to.paths[turn%len(to.paths)], io.NopCloser(bytes.NewReader(body)))
		if err != nil {
			return err
		}
		request.ContentLength = int64(len(body))
		if turn%20 == 0 {
			request.Header.Set(slowly, "yes")
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		answer, err := io.ReadAll(response.Body)
		switch {
		case err != nil:
			return err
		case response.StatusCode != http.StatusOK:
			return fmt.Errorf("%s: %s", response.Status, answer)
		case !bytes.Equal(answer, body):
			return fmt.Errorf("%d bytes came back of %d, or others", len(answer), len(body))
		}
		s.bytes.Add(int64(2 * len(body)))
		return nil
	})
}
