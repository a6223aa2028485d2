package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"fairlead.dev/fairlead/agent/grpcform"
)

// grpcProber makes the one call Check of the health checking protocol,
// https://grpc.io/docs/guides/health-checking/, over HTTP/2 without TLS, as the kubelet
// does. Its two messages have one field each, which is no reason to carry a gRPC library.
type grpcProber struct {
	grpc      GRPC
	address   string
	message   []byte
	transport *http.Transport
}

func newGRPCProber(grpc GRPC, address string) *grpcProber {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &grpcProber{grpc: grpc, address: address, message: checkRequest(grpc.Service), transport: &http.Transport{
		Protocols:              &protocols,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, hostPort("", address, grpc.Port))
		},
	}}
}

func (p *grpcProber) probe(ctx context.Context, asked *http.Request) (result, error) {
	target := url.URL{Scheme: "http", Host: authority("", asked, p.address, p.grpc.Port), Path: "/grpc.health.v1.Health/Check"}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(p.message))
	if err != nil {
		return result{}, fmt.Errorf("no request can be made of the probe: %w", err)
	}
	request.Header = grpcform.NewHeader(asked.UserAgent())
	if deadline, ok := ctx.Deadline(); ok {
		request.Header.Set("Grpc-Timeout", strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10)+"m")
	}
	response, err := p.transport.RoundTrip(request)
	if err != nil {
		return result{}, explain(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return result{}, fmt.Errorf("the application answers with HTTP status %d, and no gRPC", response.StatusCode)
	}
	// Trailers are there once the body was read to its end.
	content, err := io.ReadAll(io.LimitReader(response.Body, mostBody))
	if err != nil {
		return result{}, fmt.Errorf("the application's answer broke off: %w", err)
	}
	if err := grpcStatus(response); err != nil {
		return result{}, err
	}
	status, err := servingStatus(content)
	if err != nil {
		return result{}, fmt.Errorf("the application's answer is no HealthCheckResponse: %w", err)
	}
	if status != serving {
		return result{}, fmt.Errorf("service %q is %s", p.grpc.Service, statusName(status))
	}
	return result{code: http.StatusOK, contentType: "text/plain; charset=utf-8", body: []byte("SERVING\n")}, nil
}

// grpcStatus returns an error unless the call's status is OK.
func grpcStatus(response *http.Response) error {
	switch code, message, told := grpcform.Status(response); {
	case !told:
		return errors.New("the application's answer has no gRPC status: the port speaks another protocol")
	case code == 0:
		return nil
	case code == 12:
		return fmt.Errorf("the application does not implement grpc.health.v1.Health: %s", message)
	case code == 5:
		return fmt.Errorf("the application knows no health of such a service: %s", message)
	default:
		return fmt.Errorf("the application answers with gRPC status %d: %s", code, message)
	}
}

// checkRequest is a HealthCheckRequest, whose field 1 is the service, with what goes before it.
func checkRequest(service string) []byte {
	message := make([]byte, grpcform.Prefix)
	if service != "" {
		message = protowire.AppendString(protowire.AppendTag(message, 1, protowire.BytesType), service)
	}
	return grpcform.Frame(message)
}

// serving is the one status of HealthCheckResponse.ServingStatus that is success.
const serving = 1

func statusName(status uint64) string {
	names := []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}
	if status < uint64(len(names)) {
		return names[status]
	}
	return fmt.Sprintf("of status %d", status)
}

// servingStatus reads field 1 of a HealthCheckResponse, with what goes before it. If it is set
// twice the last one counts, and unknown fields are passed over.
func servingStatus(framed []byte) (status uint64, err error) {
	content := bytes.NewReader(framed)
	message, err := grpcform.Read(content, mostBody)
	if err != nil && !errors.Is(err, grpcform.ErrForm) || content.Len() > 0 {
		return 0, errors.New("its length is wrong")
	}
	for err == nil && len(message) > 0 {
		number, kind, n := protowire.ConsumeField(message)
		if n < 0 {
			return 0, fmt.Errorf("it is cut short, or not protobuf: %w", protowire.ParseError(n))
		}
		if number == 1 && kind == protowire.VarintType {
			_, _, tag := protowire.ConsumeTag(message)
			status, _ = protowire.ConsumeVarint(message[tag:])
		}
		message = message[n:]
	}
	return status, err
}
