package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// httpProber sends a GET request as the kubelet would have sent it: same URL, same
// host, same headers. Only the connection leads to the application's address.
type httpProber struct {
	get       HTTPGet
	address   string
	transport *http.Transport
}

func newHTTPProber(get HTTPGet, address string) *httpProber {
	return &httpProber{get: get, address: address, transport: &http.Transport{
		// Each probe begins anew, as the kubelet's does: a kept connection says little of
		// whether others are taken. No proxy of the environment has a part in it.
		DisableKeepAlives:      true,
		DisableCompression:     true,
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true},
		MaxResponseHeaderBytes: 64 << 10,
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			if get.Host == "" {
				// The URL has the Pod's address, as applications may want to see it.
				// Redirects stay on the host, and may be to another port.
				if _, port, err := net.SplitHostPort(to); err == nil {
					to = net.JoinHostPort(address, port)
				}
			}
			return new(net.Dialer).DialContext(ctx, network, to)
		},
	}}
}

func (p *httpProber) probe(ctx context.Context, asked *http.Request) (result, error) {
	target := p.get.URL
	target.Host = authority(p.get.Host, asked, p.address, p.get.Port)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return result{}, fmt.Errorf("no request can be made of the probe: %w", err)
	}
	request.Header = p.headers(asked.Header)
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
	}
	request.Header.Del("Host")
	client := &http.Client{Transport: p.transport, CheckRedirect: sameHost}
	response, err := client.Do(request)
	if err != nil {
		var inURL *url.Error
		if errors.As(err, &inURL) {
			err = inURL.Err
		}
		return result{}, explain(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, mostBody))
	if err != nil {
		return result{}, fmt.Errorf("the application's answer broke off: %w", err)
	}
	if response.StatusCode < http.StatusOK || response.StatusCode > 599 {
		return result{}, fmt.Errorf("the application answers with status %d", response.StatusCode)
	}
	if response.StatusCode == http.StatusNoContent || response.StatusCode == http.StatusNotModified {
		body = nil
	}
	// A redirect that was not followed is a success, and goes on without its target, for
	// the kubelet not to follow it either.
	return result{response.StatusCode, response.Header.Get("Content-Type"), body}, nil
}

// authority is the URL's host: the one that the probe names, else the one that the agent
// was asked by, which is the Pod's address, with the application's port.
func authority(host string, asked *http.Request, address string, port uint16) string {
	if host == "" {
		host = asked.Host
		if withoutPort, _, err := net.SplitHostPort(host); err == nil {
			host = withoutPort
		} else if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
			host = host[1 : len(host)-1]
		}
	}
	if host == "" {
		host = address
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// ownHeaders belong to the connection to the agent: RFC 9110, section 7.6.1.
var ownHeaders = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Expect",
}

// headers are those that the agent was asked with (User-Agent: kube-probe/1.37 among
// them), unless the probe sets them. An empty value takes User-Agent or Accept away:
// https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/#http-probes
func (p *httpProber) headers(asked http.Header) http.Header {
	headers := asked.Clone()
	for _, name := range ownHeaders {
		delete(headers, name)
	}
	for _, h := range p.get.Headers {
		delete(headers, h.Name)
	}
	for _, h := range p.get.Headers {
		headers.Add(h.Name, h.Value)
	}
	if headers.Get("Accept") == "" {
		delete(headers, "Accept")
	}
	if headers.Get("User-Agent") == "" {
		// Go would say something of its own, if there was nothing.
		headers["User-Agent"] = []string{""}
	}
	return headers
}

// sameHost follows redirects as the kubelet does: to the same host, ten at most.
func sameHost(request *http.Request, via []*http.Request) error {
	if request.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) >= 10 {
		return errors.New("it redirects for ever, or more than 10 times")
	}
	return nil
}
