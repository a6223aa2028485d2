package xds

import (
	"io"
	"net/http"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"fairlead.dev/fairlead/internal/mesh"
)

// maxPoll is the largest request of a client that polls, in bytes: the names that it asks for,
// and its node, which is 61 KB of Envoy's.
const maxPoll = 4 << 20

// rest serves clients that cannot stream: a POST of a DiscoveryRequest in JSON to
// /v3/discovery:clusters and its like is answered with a DiscoveryResponse, or with 304 Not
// Modified if there is nothing that is newer than the version asked with.
func (s *Server) rest(authenticate func(*http.Request) (*Caller, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := authenticate(r)
		var response *discovery.DiscoveryResponse
		if err == nil {
			response, err = s.fetch(r, caller)
		}
		var body []byte
		if err == nil && response != nil {
			body, err = protojson.Marshal(response)
		}
		switch {
		case err != nil:
			http.Error(w, status.Convert(err).Message(), httpCode(status.Code(err)))
		case response == nil:
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
		}
	})
}

// fetch answers one request.
func (s *Server) fetch(r *http.Request, caller *Caller) (*discovery.DiscoveryResponse, error) {
	typeURL, known := polledType(r.URL.Path)
	if !known || r.Method != http.MethodPost {
		return nil, status.Errorf(codes.NotFound, "%s %s is not served: POST a DiscoveryRequest to /v3/discovery:clusters, :endpoints, :listeners, :routes, :scoped-routes or :secrets", r.Method, r.URL.Path)
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxPoll))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	request := &discovery.DiscoveryRequest{}
	// A client may be newer than this.
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, request); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "the body is not a DiscoveryRequest in JSON: %s", err)
	}
	if request.GetTypeUrl() != "" && request.GetTypeUrl() != typeURL {
		return nil, status.Errorf(codes.InvalidArgument, "type_url is %s, but %s is for %s", request.GetTypeUrl(), r.URL.Path, typeURL)
	}
	request.TypeUrl = typeURL
	if request.GetNode().GetId() == "" {
		return nil, status.Error(codes.InvalidArgument, "the request must name its node: set node.id to <namespace>/<pod>")
	}
	client := Client{Node: request.GetNode().GetId(), Transport: mesh.TransportREST}
	class, err := s.classOf(client, caller)
	if err != nil {
		return nil, err
	}
	return s.poll(client, class, request), nil
}

// httpCode is how HTTP says what gRPC says.
func httpCode(code codes.Code) int {
	switch code {
	case codes.NotFound:
		return http.StatusNotFound
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// callerOfRequest says who calls over the network.
func (s *Server) callerOfRequest(r *http.Request) (*Caller, error) {
	ctx := metadata.NewIncomingContext(r.Context(), metadata.Pairs("authorization", r.Header.Get("Authorization")))
	return s.authenticate(ctx, r.URL.Path)
}

// local is every caller on the Unix socket.
func local(*http.Request) (*Caller, error) { return nil, nil }
