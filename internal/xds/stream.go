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

// stream binds one session to the callbacks of go-control-plane's servers.
type stream struct {
	*session
	directory Directory
	caller    *Caller
	// node is empty until the first request, which names the proxy.
	named string
}

// admit reads who the proxy is from the first request, and refuses a change of that.
func (s *stream) admit(node *core.Node) error {
	switch {
	case s.named == "" && node.GetId() == "":
		return status.Error(codes.InvalidArgument, "the first request must name its node: set node.id to <namespace>/<pod>")
	case s.named == "":
		client := Client{Node: node.GetId(), Transport: mesh.TransportADS}
		if strings.HasPrefix(node.GetUserAgentName(), "gRPC ") {
			client.Transport = mesh.TransportGRPC
		}
		class, err := s.directory.Class(client, s.caller)
		if err != nil {
			s.cache.options.Log.Warn("Refused a proxy", "node", node.GetId(), "caller", s.caller.String(), "error", err)
			return status.Error(codes.PermissionDenied, err.Error())
		}
		s.named = node.GetId()
		s.cache.join(s.session, client, class)
		s.log().Info("A proxy connected", "class", class)
	case node.GetId() != "" && node.GetId() != s.named:
		return status.Errorf(codes.PermissionDenied, "the stream belongs to node %s and cannot become %s", s.named, node.GetId())
	}
	return nil
}

// end is called when the stream is over, however it ended.
func (s *stream) end() {
	if s.named != "" {
		s.log().Info("A proxy disconnected")
		s.cache.leave(s.session)
	}
}

// Delta callbacks.

func (s *stream) OnDeltaStreamOpen(context.Context, int64, string) error { return nil }
func (s *stream) OnDeltaStreamClosed(int64, *core.Node)                  {}
func (s *stream) OnStreamDeltaRequest(_ int64, request *discovery.DeltaDiscoveryRequest) error {
	return s.admit(request.GetNode())
}
func (s *stream) OnStreamDeltaResponse(_ int64, request *discovery.DeltaDiscoveryRequest, response *discovery.DeltaDiscoveryResponse) {
	s.sent(request.GetTypeUrl(), response.GetNonce())
}

// State-of-the-world callbacks.

func (s *stream) OnStreamOpen(context.Context, int64, string) error { return nil }
func (s *stream) OnStreamClosed(int64, *core.Node)                  {}
func (s *stream) OnStreamRequest(_ int64, request *discovery.DiscoveryRequest) error {
	return s.admit(request.GetNode())
}
func (s *stream) OnStreamResponse(_ context.Context, _ int64, request *discovery.DiscoveryRequest, response *discovery.DiscoveryResponse) {
	s.sent(request.GetTypeUrl(), response.GetNonce())
}
