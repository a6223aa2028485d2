package envoy

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Counts are what an Envoy has counted since it was started, and what is open now.
type Counts struct {
	// Requests came in by HTTP.
	Requests uint64
	// HandshakesFailed are those of either side, and CertificatesRefused those of them in
	// which it was Envoy that did not take the peer's certificate.
	HandshakesFailed, CertificatesRefused uint64
	// RawTaken are connections that were handed on as TCP.
	RawTaken uint64
	// NotHTTP are open connections that are not known to be HTTP: those of TCP, and those
	// whose handshake is not over yet.
	NotHTTP uint64
}

// counted are the statistics that Counts are made of. The names are those that the manager
// gives to listeners and their filters; of TLS, the agent's own handshakes (listener
// proof) do not count.
var counted = regexp.MustCompile(`^(?:http\.inbound[^.]*\.downstream_rq_total|(?:http|listener)\.(?:in|out)bound[^.]*\.downstream_cx_active|` +
	`tcp\.[^.]+\.downstream_cx_total|(?:listener\.(?:in|out)bound[^.]*|cluster\..+)\.ssl\.(?:connection_error|fail_verify_\w+))$`)

// Counts asks for all of them by one question.
func (a *Admin) Counts(ctx context.Context) (Counts, error) {
	body, err := a.get(ctx, "/stats", url.Values{"filter": {counted.String()}, "usedonly": {""}})
	if err != nil {
		return Counts{}, err
	}
	return count(body)
}

func count(stats string) (Counts, error) {
	var c Counts
	var open, http int64
	for line := range strings.Lines(stats) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || !counted.MatchString(name) {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil {
			return Counts{}, fmt.Errorf("envoy's statistic %s is %q, not a number", name, value)
		}
		source, _, _ := strings.Cut(name, ".")
		switch what := name[strings.LastIndex(name, ".")+1:]; {
		case what == "downstream_rq_total":
			c.Requests += n
		case what == "downstream_cx_total":
			c.RawTaken += n
		case what == "downstream_cx_active" && source == "http":
			http += int64(n)
		case what == "downstream_cx_active":
			open += int64(n)
		case what == "connection_error":
			c.HandshakesFailed += n
		default:
			c.HandshakesFailed += n
			c.CertificatesRefused += n
		}
	}
	// Gauges are read one after the other; a difference may be off for a moment.
	c.NotHTTP = uint64(max(0, open-http))
	return c, nil
}
