package manager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"fairlead.dev/fairlead/agent/controlplane"
	"fairlead.dev/fairlead/agent/grpcform"
	"fairlead.dev/fairlead/internal/agentapi"
)

// connectMethod is the path of the service's one call.
const connectMethod = "/fairlead.agent.v1.Agents/Connect"

const (
	// A manager that hangs keeps its socket open, and a network that fails says nothing;
	// only an unanswered ping tells. The manager must allow pings this often.
	pingAfter, pingTimeout = 30 * time.Second, 10 * time.Second
	// longestMessage is far more than the roots of a mesh take.
	longestMessage = 1 << 20
)

// stream is one call of the service in gRPC's form over HTTP/2, on a connection of its own.
type stream struct {
	address    string
	connection net.Conn
	transport  *http.Transport
	out        *io.PipeWriter
	response   *http.Response
}

// open returns once the manager answers. The first message goes out with the call, as the
// manager answers to that. The context bounds the whole stream.
func open(ctx context.Context, target controlplane.Target, token, agent string, first *agentapi.FromAgent) (*stream, error) {
	connection, err := controlplane.Dial(ctx, target)
	if err != nil {
		return nil, err
	}
	frame, err := encode(first)
	if err != nil {
		_ = connection.Close()
		return nil, err
	}
	dialled := make(chan net.Conn, 1)
	dialled <- connection
	reader, writer := io.Pipe()
	s := &stream{address: target.String(), connection: connection, out: writer, transport: &http.Transport{
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			select {
			case c := <-dialled:
				return c, nil
			default:
				return nil, errors.New("the connection is used up")
			}
		},
		Protocols:          new(http.Protocols),
		DisableCompression: true,
		HTTP2:              &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}}
	s.transport.Protocols.SetHTTP2(true)
	body := struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(frame), reader), reader}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+target.Address+connectMethod, body)
	if err != nil {
		s.close()
		return nil, err
	}
	request.Header = grpcform.NewHeader(agent)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if s.response, err = s.transport.RoundTrip(request); err != nil { //nolint:bodyclose // close does it
		s.close()
		return nil, target.Explain(ctx, err)
	}
	if s.response.StatusCode != http.StatusOK {
		s.close()
		return nil, fmt.Errorf("what listens at %s answered %s: correct the manager's address", target, s.response.Status)
	}
	return s, nil
}

// close may be called while another goroutine receives, which ends.
func (s *stream) close() {
	_ = s.out.Close()
	if s.response != nil {
		_ = s.response.Body.Close()
	}
	_ = s.connection.Close()
	s.transport.CloseIdleConnections()
}

func encode(m *agentapi.FromAgent) ([]byte, error) {
	message, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, grpcform.Prefix), m)
	if err != nil {
		return nil, fmt.Errorf("encode a message to the manager: %w", err)
	}
	return grpcform.Frame(message), nil
}

func (s *stream) send(m *agentapi.FromAgent) error {
	frame, err := encode(m)
	if err != nil {
		return err
	}
	if _, err := s.out.Write(frame); err != nil {
		return fmt.Errorf("talk to the manager at %s: %w", s.address, err)
	}
	return nil
}

func (s *stream) receive() (*agentapi.FromManager, error) {
	content, err := grpcform.Read(s.response.Body, longestMessage)
	switch {
	case errors.Is(err, grpcform.ErrForm):
		return nil, fmt.Errorf("the manager at %s sent a message that is compressed or longer than %d bytes: see whether it is another program", s.address, longestMessage)
	case err != nil:
		return nil, s.ended(err)
	}
	m := &agentapi.FromManager{}
	if err := proto.Unmarshal(content, m); err != nil {
		return nil, fmt.Errorf("the manager at %s sent what cannot be understood: %w", s.address, err)
	}
	return m, nil
}

// welcome is the manager's first message.
func (s *stream) welcome() (*agentapi.Welcome, error) {
	first, err := s.receive()
	if err == nil && first.GetWelcome() == nil {
		err = fmt.Errorf("the manager at %s began with another message than a welcome: see whether its version fits the agent's", s.address)
	}
	return first.GetWelcome(), err
}

// Of gRPC's status codes, those that mean something to us.
const (
	codePermissionDenied = 7
	codeUnimplemented    = 12
	codeUnauthenticated  = 16
)

// statusError is how the manager ended the stream.
type statusError struct {
	address string
	code    int
	message string
}

func (e *statusError) Error() string {
	switch e.code {
	case codeUnimplemented:
		return fmt.Sprintf("the manager at %s knows of no agents: update it, or correct its address", e.address)
	case codePermissionDenied, codeUnauthenticated:
		return fmt.Sprintf("the manager at %s does not let the agent in: %s", e.address, e.message)
	}
	return fmt.Sprintf("the manager at %s ended the stream with status %d: %s", e.address, e.code, e.message)
}

// ended says why nothing more comes.
func (s *stream) ended(err error) error {
	if !errors.Is(err, io.EOF) {
		return fmt.Errorf("the stream from the manager at %s broke off: %w", s.address, err)
	}
	code, message, told := grpcform.Status(s.response)
	if !told {
		return fmt.Errorf("the manager at %s ended the stream without a status: see its log", s.address)
	}
	return &statusError{s.address, code, message}
}

// refusesCaller tells whether it is for who we are that the manager did not listen.
func refusesCaller(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		return status.code == codePermissionDenied || status.code == codeUnauthenticated
	}
	return controlplane.IsAlert(err)
}
