package server

import (
	"net"
	"net/http"
	"slices"
	"sync"
)

// connections bounds how many there are. When there is one too many, the one that has
// kept the server waiting for the longest is closed: whoever opens connections and
// says nothing closes its own, and a probe, which is done in milliseconds, gets
// through.
type connections struct {
	most int

	mu sync.Mutex
	// waiting are those without a request, the longest first.
	waiting []net.Conn
	busy    map[net.Conn]struct{}
	// served are those that the server has not let go of, the closed ones among them. Once
	// it takes no more, they can be waited for.
	served sync.WaitGroup
}

func newConnections(most int) *connections {
	return &connections{most: most, busy: map[net.Conn]struct{}{}}
}

// changed is told by the server of every change of a connection's state.
func (c *connections) changed(connection net.Conn, state http.ConnState) {
	if surplus := c.note(connection, state); surplus != nil {
		_ = surplus.Close()
	}
}

// note returns the connection that is to be closed, if any. Connections are few.
func (c *connections) note(connection net.Conn, state http.ConnState) (surplus net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.waiting, connection); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
	delete(c.busy, connection)
	switch state {
	case http.StateNew:
		c.served.Add(1)
		c.waiting = append(c.waiting, connection)
	case http.StateIdle:
		c.waiting = append(c.waiting, connection)
	case http.StateActive:
		c.busy[connection] = struct{}{}
	case http.StateClosed:
		c.served.Done()
	}
	if len(c.waiting) == 0 || len(c.waiting)+len(c.busy) <= c.most {
		return nil
	}
	surplus, c.waiting = c.waiting[0], c.waiting[1:]
	return surplus
}
