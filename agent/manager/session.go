package manager

import (
	"context"
	"errors"
	"time"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/agent/controlplane"
	"fairlead.dev/fairlead/internal/agentapi"
)

const (
	// usualInterval is for a manager that names none.
	usualInterval, shortestInterval = 30 * time.Second, time.Second
	// never is a time that does not come.
	never = 1 << 62
)

// session is a stream that was welcomed.
type session struct {
	*Client
	stream *stream
	target controlplane.Target
	// identity is who the manager says that we are.
	identity string
	// pending is what was asked for and is not answered, nil if there is nothing.
	pending *request
	// refused: asking the same again is of no use.
	refused bool
	// reported is the last report.
	reported *agentapi.Report
}

func (c *Client) hello() *agentapi.FromAgent {
	return &agentapi.FromAgent{Message: &agentapi.FromAgent_Hello{Hello: &agentapi.Hello{
		Node: c.options.Node, AgentVersion: c.options.Version, WantsCertificates: c.options.Algorithm != "",
	}}}
}

// converse returns why the stream ended.
func (c *Client) converse(ctx context.Context, s *stream, welcome *agentapi.Welcome, target controlplane.Target) error {
	now := &session{Client: c, stream: s, target: target, identity: welcome.GetIdentity()}
	interval := usualInterval
	if welcome.GetReportInterval() != nil {
		interval = max(welcome.GetReportInterval().AsDuration(), shortestInterval)
	}
	now.trust(welcome.GetRoots())
	// First of all, as there may be no proxy without.
	if err := now.askIfDue(); err != nil {
		return err
	}
	received, ended := now.listen(ctx)
	next := c.options.Clock.Now()
	for {
		wake := next
		if due := now.due(); due.Before(wake) {
			wake = due
		}
		timer := c.options.Clock.NewTimer(max(0, wake.Sub(c.options.Clock.Now())))
		var err error
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case err = <-ended:
		case m := <-received:
			now.take(m)
		case <-c.noted:
			if c.options.Target().String() != target.String() {
				err = errors.New("the manager is at another address now")
			}
		case <-timer.C():
			if at := c.options.Clock.Now(); !at.Before(next) {
				next = at.Add(interval)
				c.sample(ctx)
				now.reported = nil
			}
		}
		timer.Stop()
		if err == nil {
			err = now.askIfDue()
		}
		if err == nil {
			err = now.report()
		}
		if err != nil {
			return err
		}
	}
}

// listen hands on what the manager says, until the stream's end.
func (s *session) listen(ctx context.Context) (<-chan *agentapi.FromManager, <-chan error) {
	received, ended := make(chan *agentapi.FromManager), make(chan error, 1)
	go func() {
		for {
			m, err := s.stream.receive()
			if err != nil {
				ended <- err
				return
			}
			select {
			case received <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	return received, ended
}

// take does what the manager says.
func (s *session) take(m *agentapi.FromManager) {
	switch m := m.GetMessage().(type) {
	case *agentapi.FromManager_Issued:
		s.issued(m.Issued)
	case *agentapi.FromManager_Refused:
		s.wasRefused(m.Refused)
	case *agentapi.FromManager_Renew:
		s.want(m.Renew.GetReason())
	case *agentapi.FromManager_Trust:
		s.trust(m.Trust.GetRoots())
	}
}

// trust has the proxy trust other roots. If its certificate does not lead to them, it
// needs another one.
func (s *session) trust(roots []byte) {
	if s.options.Algorithm == "" || len(roots) == 0 {
		return
	}
	if err := s.options.Certificates.Trust(roots); err != nil && !errors.Is(err, certs.ErrNoCertificate) {
		s.want("the roots changed: " + err.Error())
	}
}
