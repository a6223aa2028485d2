package agents

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/xds"
)

// The metadata by which a replica says for whom it calls the leader: the agent's identity, and
// the Pod that its token is bound to, if it showed one.
const (
	forIdentity = "fairlead-for-identity"
	forPod      = "fairlead-for-pod"
)

const (
	// leaderKnown is how long what is known of the leader's address is believed, so that
	// agents that come together cost one question.
	leaderKnown = 5 * time.Second
	// leaderTimeout is how long the leader may take to welcome an agent.
	leaderTimeout = 5 * time.Second
	// orphanAge is how long a stream lasts that should be with the leader.
	orphanAge = time.Minute
)

// Relay takes the streams of agents to the replica that leads, wherever they come in: what
// agents report is evidence there, and only there it is known when they are to renew.
type Relay struct {
	// Manager is the identity of every replica.
	Manager pki.Identity
	// Elected is closed once this replica leads.
	Elected <-chan struct{}
	// Leader returns HOST:PORT of the replica that leads.
	Leader func(context.Context) (string, error)
	// TLS is for calls to it.
	TLS *tls.Config

	mu         sync.Mutex
	asked      time.Time
	address    string
	err        error
	connection *grpc.ClientConn
}

// leads reports whether this replica serves agents for all; without a Relay each does.
func (r *Relay) leads() bool {
	if r == nil {
		return true
	}
	select {
	case <-r.Elected:
		return true
	default:
		return false
	}
}

// caller returns for whom another replica calls; nil if it is no other replica that does.
func (r *Relay) caller(ctx context.Context, by *xds.Caller) (*xds.Caller, error) {
	named := metadata.ValueFromIncomingContext(ctx, forIdentity)
	if r == nil || len(named) == 0 {
		return nil, nil
	}
	if by.Pod != "" || by.Namespace != r.Manager.Namespace || by.ServiceAccount != r.Manager.ServiceAccount {
		return nil, status.Error(codes.PermissionDenied, "only the manager, known by its certificate, calls for others")
	}
	who, err := pki.ParseIdentity(named[0])
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if !r.leads() {
		return nil, status.Error(codes.Unavailable, "this replica does not lead")
	}
	caller := &xds.Caller{Namespace: who.Namespace, ServiceAccount: who.ServiceAccount}
	if pod := metadata.ValueFromIncomingContext(ctx, forPod); len(pod) > 0 {
		caller.Pod = pod[0]
	}
	return caller, nil
}

// open begins a stream to the leader for an agent. The leader's first message is returned:
// with it, the leader has taken the agent.
func (r *Relay) open(ctx context.Context, now time.Time, who pki.Identity, pod string, hello *agentapi.FromAgent) (grpc.ClientStream, *agentapi.FromManager, error) {
	connection, err := r.dial(ctx, now)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(leaderTimeout, cancel)
	defer late.Stop()
	ctx = metadata.AppendToOutgoingContext(ctx, forIdentity, who.String())
	if pod != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, forPod, pod)
	}
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, connectMethod)
	if err != nil {
		return nil, nil, err
	}
	welcome := &agentapi.FromManager{}
	// What goes wrong in sending is told by receiving.
	return stream, welcome, errors.Join(stream.SendMsg(hello), stream.RecvMsg(welcome))
}

// dial returns the connection to the leader.
func (r *Relay) dial(ctx context.Context, now time.Time) (*grpc.ClientConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.asked) < leaderKnown {
		return r.connection, r.err
	}
	address, err := r.Leader(ctx)
	if err == nil && (r.connection == nil || address != r.address) {
		r.close()
		r.address = address
		r.connection, err = grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(r.TLS)))
	}
	r.asked, r.err = now, err
	return r.connection, err
}

// Start closes the connection to the leader when the context ends.
func (r *Relay) Start(ctx context.Context) error {
	<-ctx.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close()
	return nil
}

// NeedLeaderElection says that followers relay.
func (r *Relay) NeedLeaderElection() bool { return false }

func (r *Relay) close() {
	if r.connection != nil {
		_ = r.connection.Close()
		r.connection = nil
	}
}

// relay hands an agent's messages on to the leader, and the leader's to the agent, until one of
// them ends.
func relay(ctx context.Context, agent grpc.ServerStream, messages <-chan received, leader grpc.ClientStream, next *agentapi.FromManager) error {
	go func() {
		for {
			select {
			case m := <-messages:
				if m.err != nil || leader.SendMsg(m.message) != nil {
					_ = leader.CloseSend()
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		if err := agent.SendMsg(next); err != nil {
			return err
		}
		next = &agentapi.FromManager{}
		if err := leader.RecvMsg(next); err != nil {
			return ended(err)
		}
	}
}
