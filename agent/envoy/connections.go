package envoy

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Connections is what still goes on through Envoy, by direction: connections of TCP and
// HTTP/2, and requests of HTTP/1.1. A kept HTTP/1.1 connection without a request does
// not count: it is told to close with the next answer, and nothing is lost if it ends
// without one.
type Connections struct {
	Inbound, Outbound int
}

// activity are the gauges of a direction. The names are those that the manager gives to
// listeners and HTTP connection managers.
var activity = regexp.MustCompile(`^(listener|http)\.(inbound|outbound)[^.]*\.downstream_(cx_active|cx_http2_active|rq_active)$`)

// Connections counts what goes on. Both epochs count while there are two: the younger
// one adds what it hears of its predecessor.
func (a *Admin) Connections(ctx context.Context) (Connections, error) {
	body, err := a.get(ctx, "/stats", url.Values{"filter": {activity.String()}})
	if err != nil {
		return Connections{}, err
	}
	return countConnections(body)
}

func countConnections(stats string) (Connections, error) {
	open, http1, busy := map[string]int{}, map[string]int{}, map[string]int{}
	for line := range strings.Lines(stats) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		parts := activity.FindStringSubmatch(name)
		if !ok || parts == nil {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return Connections{}, fmt.Errorf("envoy's statistic %s is %q, not a number", name, value)
		}
		source, direction, what := parts[1], parts[2], parts[3]
		switch {
		case source == "listener" && what == "cx_active":
			open[direction] += n
		case source == "http" && what == "cx_active":
			http1[direction] += n
		case source == "http" && what == "cx_http2_active":
			http1[direction] -= n
		case source == "http" && what == "rq_active":
			busy[direction] += n
		}
	}
	count := func(direction string) int {
		// Gauges are read one after the other; a difference may be off for a moment.
		return max(0, open[direction]-http1[direction]) + min(busy[direction], max(0, http1[direction]))
	}
	return Connections{Inbound: count("inbound"), Outbound: count("outbound")}, nil
}
