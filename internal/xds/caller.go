package xds

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// Caller is who opened a stream over the network, as it has proven.
type Caller struct {
	Namespace, ServiceAccount string
	// Pod is the one that the proof is bound to; empty if it is good for every Pod of the
	// service account, as a certificate is.
	Pod string
}

func (c *Caller) String() string {
	if c == nil {
		return "local"
	}
	return c.Namespace + "/" + c.ServiceAccount
}

// Permits returns nil if the caller may speak for a Pod that runs as a service account, and
// otherwise says what differs.
func (c *Caller) Permits(namespace, pod, serviceAccount string) error {
	if c.Namespace != namespace || c.ServiceAccount != serviceAccount {
		return fmt.Errorf("the Pod %s/%s runs as service account %s/%s, but the caller has proven to be %s: a proxy speaks for its own Pod only",
			namespace, pod, namespace, serviceAccount, c)
	}
	return nil
}

// PermitsNode is Permits for a caller whose proof is bound to a Pod, which is enough to know
// what that Pod runs as.
func (c *Caller) PermitsNode(node string) error {
	if bound := c.Namespace + "/" + c.Pod; node != bound {
		return fmt.Errorf("the caller's token is bound to Pod %s, not to %s: a proxy speaks for its own Pod only", bound, node)
	}
	return nil
}

type callerKey struct{}

// WithCaller returns a context of which CallerOf returns the caller.
func WithCaller(ctx context.Context, caller *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// CallerOf returns who opened the stream with this context; nil on the Unix socket, which
// only our own user reaches.
func CallerOf(ctx context.Context) *Caller {
	caller, _ := ctx.Value(callerKey{}).(*Caller)
	return caller
}

// authenticate says who calls a method over the network.
func (s *Server) authenticate(ctx context.Context, method string) (*Caller, error) {
	caller, err := s.options.Network.Authenticate(ctx, method)
	if err != nil {
		from := ""
		if p, ok := peer.FromContext(ctx); ok {
			from = p.Addr.String()
		}
		s.options.Log.Warn("Refused a call", "method", method, "from", from, "error", err)
	}
	return caller, err
}

// authenticated lets a stream through once it is known whose it is.
func (s *Server) authenticated(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	caller, err := s.authenticate(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return next(service, &callersStream{ServerStream: stream, ctx: WithCaller(stream.Context(), caller)})
}

// callersStream is a stream that knows its caller.
type callersStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *callersStream) Context() context.Context { return s.ctx }
