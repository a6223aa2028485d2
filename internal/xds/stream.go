package xds

import (
	"context"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"fairlead.dev/fairlead/internal/mesh"
)

// Client is who asks for configuration, and how. A Pod may have several: its proxy, and an
// application that is a client by itself.
type Client struct {
	// Node is "<namespace>/<pod>".
	Node      string
	Transport mesh.Transport
}

// Directory says which clients there are.
type Directory interface {
	// Class returns the class of a client, for which the caller speaks; nil is one that need
	// not prove who it is. An error is told to the client.
	Class(client Client, caller *Caller) (string, error)
}

// stream binds a session to the callbacks of go-control-plane's servers.
type stream struct {
	// session is nil until the first request, which names the client.
	*session
	server    *Server
	transport mesh.Transport
	caller    *Caller
	// typeURL is the only type of a stream that is for one subscription; it shares its session
	// with the others of its connection. Both are empty on a stream for everything.
	typeURL    string
	connection *connection
	// own are the subscriptions by this stream.
	own map[string]*subscription
}

// admit reads who the client is from the first request, and refuses a change of that.
func (s *stream) admit(node *core.Node) error {
	switch {
	case s.session == nil && node.GetId() == "":
		return status.Error(codes.InvalidArgument, "the first request must name its node: set node.id to <namespace>/<pod>")
	case s.session == nil:
		client := Client{Node: node.GetId(), Transport: s.transport}
		if client.Transport == mesh.TransportADS && strings.HasPrefix(node.GetUserAgentName(), "gRPC ") {
			client.Transport = mesh.TransportGRPC
		}
		class, err := s.server.classOf(client, s.caller)
		if err != nil {
			return err
		}
		if s.connection == nil {
			s.session = newSession(s.server.cache)
			s.cache.join(s.session, client, class)
		} else {
			s.session = s.connection.enter(s.server.cache, client, class)
		}
	case node.GetId() != "" && node.GetId() != s.Node:
		return status.Errorf(codes.PermissionDenied, "the stream belongs to node %s and cannot become %s", s.Node, node.GetId())
	}
	return nil
}

// classOf returns the class of a client.
func (s *Server) classOf(client Client, caller *Caller) (string, error) {
	class, err := s.options.Directory.Class(client, caller)
	if err != nil {
		s.options.Log.Warn("Refused a proxy", "node", client.Node, "caller", caller.String(), "error", err)
		return "", status.Error(codes.PermissionDenied, err.Error())
	}
	return class, nil
}

// subscription returns the stream's subscription to a type, made at its first request.
func (s *stream) subscription(typeURL string, v variant) (sub *subscription, first bool, err error) {
	if sub := s.own[typeURL]; sub != nil {
		return sub, false, nil
	}
	if s.typeURL != "" && s.typeURL != typeURL {
		return nil, false, status.Errorf(codes.InvalidArgument, "the stream is for %s, and was asked for %s", s.typeURL, typeURL)
	}
	sub = s.subscribe(typeURL, v)
	s.own[typeURL] = sub
	return sub, true, nil
}

// end is called when the stream is over, however it ended.
func (s *stream) end() {
	switch {
	case s.session == nil:
	case s.connection == nil:
		s.cache.leave(s.session)
	default:
		s.connection.leave(s)
	}
}

// Delta callbacks.

func (s *stream) OnDeltaStreamOpen(context.Context, int64, string) error { return nil }
func (s *stream) OnDeltaStreamClosed(int64, *core.Node)                  {}
func (s *stream) OnStreamDeltaRequest(_ int64, request *discovery.DeltaDiscoveryRequest) error {
	return s.admit(request.GetNode())
}
func (s *stream) OnStreamDeltaResponse(_ int64, request *discovery.DeltaDiscoveryRequest, response *discovery.DeltaDiscoveryResponse) {
	s.sent(s.own[request.GetTypeUrl()], response.GetNonce())
}

// State-of-the-world callbacks.

func (s *stream) OnStreamOpen(context.Context, int64, string) error { return nil }
func (s *stream) OnStreamClosed(int64, *core.Node)                  {}
func (s *stream) OnStreamRequest(_ int64, request *discovery.DiscoveryRequest) error {
	return s.admit(request.GetNode())
}
func (s *stream) OnStreamResponse(_ context.Context, _ int64, request *discovery.DiscoveryRequest, response *discovery.DiscoveryResponse) {
	s.sent(s.own[request.GetTypeUrl()], response.GetNonce())
}
