package agents

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/pki"
)

// received is a message of the agent, or why no more come.
type received struct {
	message *agentapi.FromAgent
	err     error
}

// receive reads a stream's messages until it ends.
func receive(ctx context.Context, stream grpc.ServerStream) <-chan received {
	messages := make(chan received)
	go func() {
		for {
			next := received{message: &agentapi.FromAgent{}}
			next.err = stream.RecvMsg(next.message)
			if next.err == nil && proto.Size(next.message) > maxMessage {
				next.err = status.Errorf(codes.ResourceExhausted, "a message has more than %d bytes", maxMessage)
			}
			select {
			case messages <- next:
			case <-ctx.Done():
				return
			}
			if next.err != nil {
				return
			}
		}
	}()
	return messages
}

// conversation is a stream after its Hello. One goroutine holds it; another one may be waiting
// for an issuer.
type conversation struct {
	*Server
	stream  grpc.ServerStream
	node    string
	who     pki.Identity
	session *session
	log     *slog.Logger
	// trusted is the bundle that the agent was told last.
	trusted []byte
	// answers has the one to the request that is under way.
	answers chan *agentapi.FromManager
	asking  bool
}

// hold serves the stream until it is old, replaced, or ended by the agent.
func (c *conversation) hold(ctx context.Context, messages <-chan received, age time.Duration) error {
	old := c.options.Clock.NewTimer(age)
	defer old.Stop()
	changed := c.options.Source.Changes()
	c.trusted = c.bundle()
	next := &agentapi.FromManager{Message: &agentapi.FromManager_Welcome{Welcome: &agentapi.Welcome{
		ReportInterval: durationpb.New(c.options.ReportInterval), Roots: c.trusted, Identity: c.who.String(),
	}}}
	for {
		if next != nil {
			if err := c.stream.SendMsg(next); err != nil {
				return err
			}
		}
		select {
		case m := <-messages:
			if m.err != nil {
				return ended(m.err)
			}
			var err error
			if next, err = c.answer(ctx, m.message); err != nil {
				return err
			}
		case next = <-c.answers:
			c.asking = false
		case <-changed:
			changed = c.options.Source.Changes()
			next = c.trust()
		case reason := <-c.session.renew:
			next = &agentapi.FromManager{Message: &agentapi.FromManager_Renew{Renew: &agentapi.Renew{Reason: reason}}}
		case <-c.session.replaced:
			return status.Error(codes.Aborted, "the agent has opened another stream")
		case <-old.C():
			return nil
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// ended is how a stream ends whose agent sends nothing more.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// bundle is PEM of the roots to trust; nil before there are any.
func (c *conversation) bundle() []byte {
	if authority := c.options.Source.Get(); authority != nil {
		return authority.Bundle()
	}
	return nil
}

// trust tells the agent the roots, if they are others than before.
func (c *conversation) trust() *agentapi.FromManager {
	roots := c.bundle()
	if bytes.Equal(roots, c.trusted) {
		return nil
	}
	c.trusted = roots
	return &agentapi.FromManager{Message: &agentapi.FromManager_Trust{Trust: &agentapi.Trust{Roots: roots}}}
}

// answer takes in a message, and returns the answer if there is one at once.
func (c *conversation) answer(ctx context.Context, message *agentapi.FromAgent) (*agentapi.FromManager, error) {
	c.options.Table.heard(c.node, c.session, message.GetReport())
	switch m := message.GetMessage().(type) {
	case *agentapi.FromAgent_Report:
		return nil, nil
	case *agentapi.FromAgent_SigningRequest:
		return c.request(ctx, m.SigningRequest), nil
	case *agentapi.FromAgent_Hello:
		return nil, status.Error(codes.InvalidArgument, "a second Hello came: open another stream")
	}
	// Of a newer agent: it is to go on with what is understood here.
	return nil, nil
}
