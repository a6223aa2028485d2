// Package controlplane reaches the manager as Envoy does, and asks whether it could serve
// a new Envoy now.
//
// A successor that takes the listeners over and then gets no configuration would serve
// nothing, while its predecessor has all that it needs; so the manager is tried before a
// hot restart. A probe goes as far as tells a manager that lives from one that hangs: it
// connects as Envoy would, makes the TLS handshake, begins HTTP/2 and waits for the
// server's first frame. It opens no stream and speaks no gRPC; the manager sees a
// connection that comes and goes. What is found comes back as one error that says what a
// person can do.
package controlplane

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Target is where the manager is and how it is spoken to.
type Target struct {
	// Socket is the path of a Unix socket, which is spoken to in plaintext. This or
	// Address is required.
	Socket string
	// Address is a HOST:PORT, which is spoken to by TLS.
	Address string
	// ServerName is the DNS name, address or URI that the manager's certificate must
	// have; the default is the host of Address.
	ServerName string
	// Certificate and Key are PEM files, read each time. Without their names no certificate
	// is shown.
	Certificate, Key string
	// Roots are PEM files, of which one has to be there.
	Roots []string
}

func (t Target) String() string {
	if t.Socket != "" {
		return t.Socket
	}
	return t.Address
}

// Probe returns nil if the manager answers. The context has to bound it.
func Probe(ctx context.Context, t Target) error {
	connection, err := Dial(ctx, t)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	// A deadline in the past ends whatever waits.
	stop := context.AfterFunc(ctx, func() { _ = connection.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := greet(connection); err != nil {
		return t.Explain(ctx, err)
	}
	return nil
}

// Dial connects, and makes the TLS handshake if there is an Address.
func Dial(ctx context.Context, t Target) (net.Conn, error) {
	connection, err := t.connect(ctx)
	if err != nil || t.Address == "" {
		return connection, err
	}
	secured, err := t.secure(ctx, connection)
	if err != nil {
		_ = connection.Close()
		return nil, err
	}
	return secured, nil
}

func (t Target) connect(ctx context.Context) (net.Conn, error) {
	network := "tcp"
	if t.Socket != "" {
		network = "unix"
	}
	connection, err := new(net.Dialer).DialContext(ctx, network, t.String())
	var dns *net.DNSError
	switch {
	case err == nil:
		return connection, nil
	case errors.Is(err, os.ErrNotExist) && t.Socket != "":
		return nil, fmt.Errorf("there is no socket at %s: start the manager, or correct --xds-socket", t)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("nobody listens at %s: start the manager, or correct its address", t)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("the agent may not connect to %s: run it as the user that owns the socket", t)
	case errors.As(err, &dns) && dns.IsNotFound:
		return nil, fmt.Errorf("there is no host %s: correct --xds-address, or look at the cluster's DNS", dns.Name)
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("%s does not answer (%w): the manager hangs, or the network is cut", t, reason(ctx, err))
	default:
		return nil, fmt.Errorf("connect to the control plane: %w", err)
	}
}

// preface is what a client of HTTP/2 begins with, settings without any value included
// (RFC 9113, section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// Of a frame: length, type, flags and stream (RFC 9113, section 4.1).
const (
	frameHeader   = 9
	frameSettings = 4
	frameGoAway   = 7
	flagAck       = 1
)

var (
	errNotHTTP2 = errors.New("it does not speak HTTP/2")
	errLeaving  = errors.New("it is about to end")
)

// greet begins HTTP/2 and waits for the settings that the server has to begin with.
func greet(connection io.ReadWriter) error {
	if _, err := io.WriteString(connection, preface); err != nil {
		return err
	}
	var header [frameHeader]byte
	if _, err := io.ReadFull(connection, header[:]); err != nil {
		return err
	}
	length, stream := binary.BigEndian.Uint32(header[:4])>>8, binary.BigEndian.Uint32(header[5:])
	switch {
	case stream != 0 || length > 1<<14:
		return errNotHTTP2
	case header[3] == frameGoAway:
		return errLeaving
	case header[3] != frameSettings || header[4]&flagAck != 0 || length%6 != 0:
		return errNotHTTP2
	}
	return nil
}

// Explain says what an error means that came after Dial, before the manager said anything.
func (t Target) Explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errNotHTTP2), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("what listens at %s does not speak HTTP/2: correct the manager's address", t)
	case errors.Is(err, errLeaving):
		return fmt.Errorf("the manager at %s is about to end: wait for the next one", t)
	case IsAlert(err):
		// In TLS 1.3 a client has finished before the server looks at its certificate.
		return fmt.Errorf("the manager at %s refuses the agent's certificate %s (%w): see whether it has expired, and whether the manager has its root", t, t.Certificate, err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("what listens at %s ended the connection without a word: see whether the manager is ending, and its log", t)
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the manager at %s took the connection, but says nothing (%w): it hangs, see its log or restart it", t, reason(ctx, err))
	default:
		return fmt.Errorf("talk to the control plane at %s: %w", t, err)
	}
}

// reason prefers what the caller gave as the cause.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
