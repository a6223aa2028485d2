// Package agents serves the stream that every agent holds to the manager: certificates go out
// by it, and what the proxies really run comes in.
//
// A caller is known by its certificate or, as long as it has none, by a token that is bound to
// its Pod (authenticate.go), and gets certificates for its own service account only. What
// agents report is kept in the Table, by node, for the rotation of certificates; nothing
// here decides when one is renewed. Keys are made by the agents and never seen here.
package agents

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/xds"
)

const (
	serviceName   = "fairlead.agent.v1.Agents"
	connectMethod = "/" + serviceName + "/Connect"

	// DefaultReportInterval is how often agents report what is not new.
	DefaultReportInterval = time.Minute
	// helloTimeout is how long a caller has to say who it is.
	helloTimeout = 10 * time.Second
	// maxMessage is far more than any message of an agent has, in bytes.
	maxMessage = 64 << 10
)

// Options are what a Server needs. All fields are required, unless they say otherwise.
type Options struct {
	Table  *Table
	Source *pki.Source
	// Admit returns nil if a caller that shows a certificate may speak for the Pod with this
	// node id. Of one with a token, the token says it.
	Admit func(node string, caller *xds.Caller) error
	// Issue issues for the callers' identities, and Lifetime says for how long.
	Issue    pki.IssueFunc
	Lifetime func(pki.Identity) time.Duration
	// TrustDomain is the mesh's.
	TrustDomain string
	// MaxAge is how old connections become by the mesh's settings as they are now. A stream
	// ends when it has nine tenths of that, or up to a tenth less.
	MaxAge func() time.Duration
	// Relay may be nil: then there is one replica, or each serves for itself.
	Relay *Relay
	// ReportInterval is DefaultReportInterval if zero.
	ReportInterval time.Duration
	Clock          clock.WithTicker
	Log            *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
}

// Server is the service that agents call. Every replica serves it.
type Server struct{ options Options }

// NewServer returns a server.
func NewServer(options Options) *Server {
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	if options.ReportInterval == 0 {
		options.ReportInterval = DefaultReportInterval
	}
	return &Server{options: options}
}

// Register makes a gRPC server serve agents, for xds.Network. Its streams have to have a
// caller: xds.CallerOf.
func (s *Server) Register(registrar grpc.ServiceRegistrar) {
	registrar.RegisterService(&grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName: "Connect", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return s.connect(stream) },
		}},
		Metadata: "agents.proto",
	}, s)
}

// connect serves one stream, from the agent's Hello on.
func (s *Server) connect(stream grpc.ServerStream) error {
	ctx := stream.Context()
	caller := xds.CallerOf(ctx)
	if caller == nil {
		return status.Error(codes.Unauthenticated, "the stream has no caller: it is served over the network only")
	}
	relayed, err := s.options.Relay.caller(ctx, caller)
	if err != nil {
		s.options.Log.Warn("Refused a call for another", "caller", caller.String(), "error", err)
		return err
	}
	if relayed != nil {
		caller = relayed
	}
	messages := receive(ctx, stream)
	hello, err := s.hello(ctx, messages)
	if err != nil {
		return err
	}
	node := hello.GetHello().GetNode()
	log := s.options.Log.With("node", node)
	if err := s.admit(node, caller); err != nil {
		log.Warn("Refused an agent", "caller", caller.String(), "error", err)
		return status.Error(codes.PermissionDenied, err.Error())
	}
	who := pki.Identity{TrustDomain: s.options.TrustDomain, Namespace: caller.Namespace, ServiceAccount: caller.ServiceAccount}
	age := s.age()
	if !s.options.Relay.leads() {
		leader, welcome, err := s.options.Relay.open(ctx, s.options.Clock.Now(), who, caller.Pod, hello)
		if err == nil {
			return relay(ctx, stream, messages, leader, welcome)
		}
		log.Warn("Could not hand an agent on to the leader, and serve it here for a while", "error", err)
		age = min(age, orphanAge)
	}
	session := s.options.Table.connect(node, who, hello.GetHello(), caller.Pod != "")
	defer s.options.Table.disconnect(node, session)
	log.Info("An agent connected", "identity", who.String(), "version", hello.GetHello().GetAgentVersion())
	defer log.Info("An agent disconnected")
	c := &conversation{Server: s, stream: stream, node: node, who: who, session: session, log: log, answers: make(chan *agentapi.FromManager, 1)}
	return c.hold(ctx, messages, age)
}

// hello waits for the agent's first message.
func (s *Server) hello(ctx context.Context, messages <-chan received) (*agentapi.FromAgent, error) {
	timer := s.options.Clock.NewTimer(helloTimeout)
	defer timer.Stop()
	select {
	case m := <-messages:
		if m.err != nil {
			return nil, m.err
		}
		if m.message.GetHello() != nil {
			return m.message, nil
		}
		return nil, status.Error(codes.InvalidArgument, "the first message must be a Hello")
	case <-timer.C():
		return nil, status.Errorf(codes.DeadlineExceeded, "no Hello came within %s", helloTimeout)
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// admit checks that the caller may speak for a node. A token is bound to one Pod, which the
// API server has just looked up; the mesh's own picture may lag behind that.
func (s *Server) admit(node string, caller *xds.Caller) error {
	if caller.Pod != "" {
		return caller.PermitsNode(node)
	}
	return s.options.Admit(node, caller)
}

// age is how long a stream may last: they do not all end at once.
func (s *Server) age() time.Duration {
	return time.Duration((0.8 + 0.1*rand.Float64()) * float64(s.options.MaxAge()))
}
