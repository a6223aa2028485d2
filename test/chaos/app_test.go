package chaos

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Ports on which the application serves, and those of its Service.
const (
	httpPort = 8080
	grpcPort = 9090
	tcpPort  = 8081
)

// app is an application that answers with what it is sent.
type app struct {
	// asked counts requests of HTTP.
	asked   atomic.Int64
	web     *http.Server
	rpc     *grpc.Server
	raw     net.Listener
	open    *connections
	serving sync.WaitGroup
}

// startApp serves everything that the load asks for. It is ended after the test.
func startApp(t testing.TB, host string) *app {
	t.Helper()
	listen := func(port int) net.Listener {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		return listener
	}
	a := &app{rpc: grpc.NewServer(), raw: listen(tcpPort), open: &connections{all: map[net.Conn]struct{}{}}}
	a.web = &http.Server{Handler: http.HandlerFunc(a.answer), Protocols: new(http.Protocols)}
	a.web.Protocols.SetHTTP1(true)
	a.web.Protocols.SetUnencryptedHTTP2(true)
	a.rpc.RegisterService(&numbers, nil)
	web, rpc := listen(httpPort), listen(grpcPort)
	a.serving.Go(func() { _ = a.web.Serve(web) })
	a.serving.Go(func() { _ = a.rpc.Serve(rpc) })
	a.serving.Go(func() { a.open.echo(a.raw) })
	t.Cleanup(func() { a.end(0) })
	return a
}

// end refuses what is new and lets what is under way finish, but for no longer than given.
func (a *app) end(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_ = a.raw.Close()
	forced := context.AfterFunc(ctx, func() {
		_ = a.web.Close()
		a.rpc.Stop()
		a.open.close()
	})
	defer forced()
	_ = a.web.Shutdown(ctx)
	a.rpc.GracefulStop()
	a.serving.Wait()
}

// connections are those of raw TCP.
type connections struct {
	mu  sync.Mutex
	all map[net.Conn]struct{}
}

// echo answers on each connection with what comes, until the listener is closed and the
// last caller is gone.
func (c *connections) echo(listener net.Listener) {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		c.note(connection, true)
		open.Go(func() {
			defer c.note(connection, false)
			defer func() { _ = connection.Close() }()
			_, _ = io.Copy(connection, connection)
		})
	}
}

func (c *connections) note(connection net.Conn, open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if open {
		c.all[connection] = struct{}{}
	} else {
		delete(c.all, connection)
	}
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for connection := range c.all {
		_ = connection.Close()
	}
}

func (a *app) answer(w http.ResponseWriter, r *http.Request) {
	a.asked.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		// The caller's connection broke; there is nobody to tell.
		return
	}
	if r.Header.Get(slowly) != "" {
		select {
		case <-time.After(slow):
		case <-r.Context().Done():
		}
	}
	_, _ = w.Write(body)
}

// numbers is a gRPC service whose messages are known types: Next adds one, Count counts
// to a number, a message each streamInterval.
var numbers = grpc.ServiceDesc{
	ServiceName: "fairlead.chaos.Numbers",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Next", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		number := &wrapperspb.UInt64Value{}
		if err := decode(number); err != nil {
			return nil, err
		}
		return wrapperspb.UInt64(number.Value + 1), nil
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Count", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
		until := &wrapperspb.UInt64Value{}
		if err := stream.RecvMsg(until); err != nil {
			return err
		}
		pace := time.NewTicker(streamInterval)
		defer pace.Stop()
		for number := range until.Value {
			if err := stream.SendMsg(wrapperspb.UInt64(number)); err != nil {
				return err
			}
			select {
			case <-pace.C:
			case <-stream.Context().Done():
				return errors.New("the caller is gone")
			}
		}
		return nil
	}}},
}

const (
	nextMethod  = "/fairlead.chaos.Numbers/Next"
	countMethod = "/fairlead.chaos.Numbers/Count"
)
