package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	unaryWorkers  = 4
	unaryInterval = 20 * time.Millisecond
	streamWorkers = 8
	// A stream of messages takes about 300 ms.
	streamInterval = 20 * time.Millisecond
	streamMessages = 15
	endlessStreams = 2
	// redial is how soon a client tries again to connect; gRPC's own second would be seen
	// as one of the proxy's.
	redial = 50 * time.Millisecond
)

func (l *load) startGRPC(to target) {
	asked, streamed := l.sort(unary), l.sort(streams)
	first, second := l.connect(to, asked), l.connect(to, streamed)
	l.repeat(unaryWorkers, unaryInterval, func(_, turn int) {
		asked.attempt(func() error { return asked.next(first, uint64(turn)) })
	})
	l.repeat(streamWorkers, streamInterval, func(int, int) {
		streamed.attempt(func() error { return streamed.count(context.Background(), second, streamMessages) })
	})
	l.startEndlessStreams(to)
}

func (l *load) startEndlessStreams(to target) {
	l.t.Helper()
	forever := l.sort(endless)
	lasting := l.connect(to, forever)
	l.repeat(endlessStreams, unaryInterval, func(int, int) {
		forever.tried.Add(1)
		err := forever.count(l.ctx, lasting, 1<<40)
		if l.ctx.Err() == nil {
			forever.ended(end(err))
		}
	})
}

// connect makes a channel that ends with the load.
func (l *load) connect(to target, s *sort) *grpc.ClientConn {
	l.t.Helper()
	transport := insecure.NewCredentials()
	if to.tls != nil {
		transport = credentials.NewTLS(to.tls.Clone())
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		// What the server says that it never looked at, gRPC sends again all the same.
		grpc.WithDisableRetry(),
		grpc.WithStatsHandler(watched{s}),
		grpc.WithNoProxy(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: redial, Multiplier: 1, MaxDelay: redial}, MinConnectTimeout: patience,
		}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", to.grpc)
		}),
	}
	if to.grpcHost != "" {
		options = append(options, grpc.WithAuthority(to.grpcHost))
	}
	connection, err := grpc.NewClient("passthrough:///"+to.grpc, options...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.closers = append(l.closers, func() { _ = connection.Close() })
	return connection
}

// watched counts what the client library tries again.
type watched struct{ *sort }

func (watched) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (watched) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (watched) HandleConn(context.Context, stats.ConnStats)                       {}

func (w watched) HandleRPC(_ context.Context, s stats.RPCStats) {
	switch s := s.(type) {
	case *stats.Begin:
		if s.IsTransparentRetryAttempt {
			w.again.Add(1)
		}
	case *stats.InPayload:
		w.bytes.Add(int64(s.WireLength))
	case *stats.OutPayload:
		w.bytes.Add(int64(s.WireLength))
	}
}

func (s *sort) next(connection *grpc.ClientConn, number uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer := &wrapperspb.UInt64Value{}
	if err := connection.Invoke(ctx, nextMethod, wrapperspb.UInt64(number), answer); err != nil {
		return err
	}
	if answer.Value != number+1 {
		return fmt.Errorf("%d came after %d", answer.Value, number)
	}
	return nil
}

// count has the server count and returns when it is done, or why it did not get there.
func (s *sort) count(ctx context.Context, connection *grpc.ClientConn, messages uint64) error {
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, countMethod)
	if err != nil {
		return err
	}
	if err := errors.Join(stream.SendMsg(wrapperspb.UInt64(messages)), stream.CloseSend()); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for expected := uint64(0); ; expected++ {
		message := &wrapperspb.UInt64Value{}
		switch err := stream.RecvMsg(message); {
		case errors.Is(err, io.EOF) && expected == messages:
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("the stream ended with OK after %d of %d messages", expected, messages)
		case err != nil:
			return err
		case message.Value != expected:
			return fmt.Errorf("message %d came as %d", message.Value, expected)
		}
	}
}

// end puts into words how a stream came to an end that had none.
func end(err error) string {
	if err == nil {
		return "done"
	}
	told := "without GOAWAY"
	if strings.Contains(err.Error(), "goaway") || strings.Contains(err.Error(), "GOAWAY") {
		told = "after GOAWAY"
	}
	code := status.Code(err)
	if code == codes.Unavailable && strings.Contains(err.Error(), "connection error") && told == "without GOAWAY" {
		return notConnected
	}
	return code.String() + " " + told
}
