package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// grpcProber makes the one call Check of the health checking protocol,
// https://grpc.io/docs/guides/health-checking/, over HTTP/2 without TLS, as the kubelet
// does. Its two messages have one field each, which is no reason to carry a gRPC
// library: framing is https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md,
// the fields' encoding https://protobuf.dev/programming-guides/encoding/.
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
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("Te", "trailers")
	request.Header.Set("User-Agent", asked.UserAgent())
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

// grpcStatus returns an error unless the call's status is OK. An answer without a
// message has it in its headers.
func grpcStatus(response *http.Response) error {
	from := response.Trailer
	if from.Get("Grpc-Status") == "" {
		from = response.Header
	}
	switch code, message := from.Get("Grpc-Status"), from.Get("Grpc-Message"); code {
	case "0":
		return nil
	case "":
		return errors.New("the application's answer has no gRPC status: the port speaks another protocol")
	case "12":
		return fmt.Errorf("the application does not implement grpc.health.v1.Health: %s", unescape(message))
	case "5":
		return fmt.Errorf("the application knows no health of such a service: %s", unescape(message))
	default:
		return fmt.Errorf("the application answers with gRPC status %s: %s", code, unescape(message))
	}
}

// unescape undoes the percent-encoding of messages.
func unescape(message string) string {
	if plain, err := url.PathUnescape(message); err == nil {
		return plain
	}
	return message
}

// prefix is the length of what goes before a message: a byte for compression, four for
// the message's length.
const prefix = 5

// Tags are a field's number and how its value is written. fieldService is field 1 of
// HealthCheckRequest, with a length; fieldStatus field 1 of HealthCheckResponse, a number.
const (
	fieldService = 1<<3 | 2
	fieldStatus  = 1 << 3
)

// checkRequest is a HealthCheckRequest with what goes before it.
func checkRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = append(message, fieldService)
		message = binary.AppendUvarint(message, uint64(len(service)))
		message = append(message, service...)
	}
	framed := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return append(framed, message...)
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

// servingStatus reads the status of a HealthCheckResponse, with what goes before it. Of
// fields that are set twice the last one counts, and unknown ones are passed over.
func servingStatus(framed []byte) (status uint64, err error) {
	if len(framed) < prefix || uint64(binary.BigEndian.Uint32(framed[1:])) != uint64(len(framed)-prefix) {
		return 0, errors.New("its length is wrong")
	}
	if framed[0] != 0 {
		return 0, errors.New("it is compressed, though that was not asked for")
	}
	message := framed[prefix:]
	next := func() uint64 {
		value, n := binary.Uvarint(message)
		if n <= 0 {
			err = errors.New("it is cut short")
			message = nil
			return 0
		}
		message = message[n:]
		return value
	}
	skip := func(n uint64) {
		if n > uint64(len(message)) {
			err = errors.New("it is cut short")
			n = uint64(len(message))
		}
		message = message[n:]
	}
	for len(message) > 0 && err == nil {
		switch tag := next(); {
		case tag == fieldStatus:
			status = next()
		case tag&7 == 0:
			next()
		case tag&7 == 1:
			skip(8)
		case tag&7 == 2:
			skip(next())
		case tag&7 == 5:
			skip(4)
		default:
			err = errors.New("it is not protobuf")
		}
	}
	return status, err
}
