package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
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
		body := &body{content: bytes.Repeat([]byte{'a' + byte(turn%26)}, 100+turn%900)}
		url := "http://"
		if to.tls != nil {
			url = "https://"
		}
		host := to.httpHost
		if host == "" {
			host = to.http
		}
		request, err := http.NewRequest(http.MethodPost, url+host+to.paths[turn%len(to.paths)], body)
		if err != nil {
			return err
		}
		request.ContentLength = int64(len(body.content))
		if s.name == http2 {
			// It may come to a connection that was told GOAWAY in that very moment.
			request.GetBody = func() (io.ReadCloser, error) { return body.again(s) }
		}
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
		case !bytes.Equal(answer, body.content):
			return fmt.Errorf("%d bytes came back of %d, or others", len(answer), len(body.content))
		}
		s.bytes.Add(int64(2 * len(answer)))
		return nil
	})
}

// body is one of which the client library has no copy: it cannot send a request again by
// itself once anything of it was sent, so that whatever is lost is seen.
type body struct {
	content []byte
	sent    atomic.Int64
}

func (b *body) Read(p []byte) (int, error) {
	from := b.sent.Load()
	n := copy(p, b.content[from:])
	b.sent.Add(int64(n))
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (*body) Close() error { return nil }

// again gives the body out once more if nothing of it was sent, and counts that.
func (b *body) again(s *sort) (io.ReadCloser, error) {
	if b.sent.Load() > 0 {
		return nil, errors.New("the request was sent already")
	}
	s.again.Add(1)
	return b, nil
}
