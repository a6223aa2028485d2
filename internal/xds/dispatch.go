package xds

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
)

// dispatcher are the credentials of a gRPC server that shares its address with one of
// HTTP/1.1: what does not begin as HTTP/2 is handed on to that. It is a listener, too: the
// one of that other server.
type dispatcher struct {
	credentials.TransportCredentials
	// tls is nil where no TLS is spoken.
	tls     *tls.Config
	others  chan net.Conn
	closed  context.Context
	close   context.CancelFunc
	address net.Addr
}

func newDispatcher(address net.Addr, config *tls.Config) *dispatcher {
	d := &dispatcher{TransportCredentials: insecure.NewCredentials(), others: make(chan net.Conn), address: address}
	d.closed, d.close = context.WithCancel(context.Background())
	if config != nil {
		d.tls = config.Clone()
		d.tls.NextProtos = []string{"h2", "http/1.1"}
	}
	return d
}

// http2Begins is how a client of HTTP/2 begins (RFC 9113, section 3.4), and none of HTTP/1.1.
var http2Begins = []byte("PRI")

// ServerHandshake implements credentials.TransportCredentials. gRPC bounds its time.
func (d *dispatcher) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	begun := &begunConn{Conn: raw}
	var info credentials.AuthInfo
	if d.tls == nil {
		_, plain, err := d.TransportCredentials.ServerHandshake(raw)
		if err != nil {
			return nil, nil, err
		}
		info = plain
	} else {
		secured := tls.Server(raw, d.tls)
		if err := secured.Handshake(); err != nil {
			return nil, nil, err
		}
		begun.Conn = secured
		info = credentials.TLSInfo{State: secured.ConnectionState(), CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
	}
	begun.info = info
	begun.first = make([]byte, len(http2Begins))
	if _, err := io.ReadFull(begun.Conn, begun.first); err != nil {
		return nil, nil, err
	}
	if bytes.Equal(begun.first, http2Begins) {
		return begun, info, nil
	}
	select {
	case d.others <- begun:
		return nil, nil, credentials.ErrConnDispatched
	case <-d.closed.Done():
		return nil, nil, net.ErrClosed
	}
}

// Accept implements net.Listener for the server of HTTP/1.1.
func (d *dispatcher) Accept() (net.Conn, error) {
	select {
	case connection := <-d.others:
		return connection, nil
	case <-d.closed.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (d *dispatcher) Close() error {
	d.close()
	return nil
}

// Addr implements net.Listener.
func (d *dispatcher) Addr() net.Addr { return d.address }

// begunConn is a connection of which the first bytes were looked at.
type begunConn struct {
	net.Conn
	first []byte
	info  credentials.AuthInfo
}

// Read implements net.Conn.
func (c *begunConn) Read(into []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(into)
	}
	n := copy(into, c.first)
	c.first = c.first[n:]
	return n, nil
}

// serveHTTP answers what is not gRPC until the dispatcher is closed.
func (d *dispatcher) serveHTTP(handler http.Handler) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute,
		// As gRPC does it, so that who calls is found out in one way.
		ConnContext: func(ctx context.Context, connection net.Conn) context.Context {
			return peer.NewContext(ctx, &peer.Peer{Addr: connection.RemoteAddr(), AuthInfo: connection.(*begunConn).info})
		},
	}
	defer server.Close()
	if err := server.Serve(d); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
