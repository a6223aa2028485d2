package metrics

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Target is somebody whose metrics are handed on.
type Target struct {
	// Name is the label target of what is counted of it.
	Name string
	// Open asks for the metrics, and has to give up when the context ends. The caller
	// closes the body, which the context ends, too.
	Open func(context.Context) (body io.ReadCloser, contentType string, err error)
}

// Envoy is the Envoy whose administration interface is the given Unix socket. Each
// scrape has a connection of its own: a kept one would lead to the predecessor after a
// hot restart.
func Envoy(socket string) Target {
	return target("envoy", "http://envoy/stats/prometheus", &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	})
}

// Application is the application beside Envoy. The URL is one that ParseApplication
// has returned.
func Application(url string) Target {
	return target("application", url, &http.Transport{
		// On loopback nobody is in between, and certificates rarely name it.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	})
}

func target(name, url string, transport *http.Transport) Target {
	transport.DisableKeepAlives = true
	transport.DisableCompression = true
	transport.MaxResponseHeaderBytes = 64 << 10
	client := &http.Client{
		Transport: transport,
		// Elsewhere is not where the metrics were said to be.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return Target{Name: name, Open: func(ctx context.Context) (io.ReadCloser, string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, "", err
		}
		request.Header.Set("Accept", "text/plain;version=0.0.4,*/*;q=0.1")
		response, err := client.Do(request)
		if err != nil {
			return nil, "", err
		}
		if response.StatusCode != http.StatusOK {
			_ = response.Body.Close()
			return nil, "", fmt.Errorf("%s answered %s with %s", name, url, response.Status)
		}
		return response.Body, response.Header.Get("Content-Type"), nil
	}}
}

// ParseApplication checks the URL of an application's metrics. It has to lie on
// loopback: who reaches the agent must not be led anywhere else.
func ParseApplication(text string) (string, error) {
	const form = "give where the application serves its metrics in this Pod, such as http://127.0.0.1:8080/metrics"
	u, err := url.Parse(text)
	if err != nil {
		// The error repeats the text.
		var parsing *url.Error
		if errors.As(err, &parsing) {
			err = parsing.Err
		}
		if strings.Contains(text, "@") {
			text = "a text with '@'"
		}
		return "", fmt.Errorf("is %q: %w: %s", text, err, form)
	}
	switch port, err := strconv.ParseUint(u.Port(), 10, 16); {
	case u.User != nil:
		return "", fmt.Errorf("has a user name or password, which everybody who lists processes would see: %s", form)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("is %q, which does not begin with http:// or https://: %s", text, form)
	case !isLoopback(u.Hostname()):
		return "", fmt.Errorf("is %q, whose host is not a loopback address: %s", text, form)
	case u.Port() != "" && (err != nil || port == 0):
		return "", fmt.Errorf("is %q: %q is not a port from 1 to 65535: %s", text, u.Port(), form)
	}
	u.Fragment = ""
	return u.String(), nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}
