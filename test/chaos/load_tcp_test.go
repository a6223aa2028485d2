package chaos

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

const (
	tcpWorkers = 6
	// A connection is kept for about half a second.
	tcpInterval = 20 * time.Millisecond
	tcpFrames   = 25
	endlessTCP  = 2
	// frame is the length of what is sent at a time: its number and some filling.
	frame = 256
)

func (l *load) startTCP(to target) {
	short := l.sort(tcp)
	l.repeat(tcpWorkers, tcpInterval, func(int, int) {
		short.attempt(func() error { return short.echo(to.tcp, tcpFrames, nil) })
	})
	l.startEndlessTCP(to)
}

func (l *load) startEndlessTCP(to target) {
	lasting := l.sort(tcpForAll)
	l.repeat(endlessTCP, tcpInterval, func(int, int) {
		lasting.tried.Add(1)
		if err := lasting.echo(to.tcp, 1<<40, l.ctx.Done()); err != nil {
			lasting.ended(endOfTCP(err))
		}
	})
}

// echo sends frames, one at a time, and wants each of them back; then the other side is
// to close as this one did. Closing stop ends it early.
func (s *sort) echo(address string, frames uint64, stop <-chan struct{}) error {
	connection, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	pace := time.NewTicker(tcpInterval)
	defer pace.Stop()
	sent, came := make([]byte, frame), make([]byte, frame)
	for number := range frames {
		binary.BigEndian.PutUint64(sent, number)
		// Longer than a frozen proxy is kept so.
		_ = connection.SetDeadline(time.Now().Add(patience))
		if _, err := connection.Write(sent); err != nil {
			return fmt.Errorf("frame %d: %w", number, err)
		}
		if _, err := io.ReadFull(connection, came); err != nil {
			return fmt.Errorf("echo of a frame: %w", err)
		}
		if got := binary.BigEndian.Uint64(came); got != number {
			return fmt.Errorf("frame %d came back as %d", number, got)
		}
		s.bytes.Add(2 * frame)
		select {
		case <-stop:
			return nil
		case <-pace.C:
		}
	}
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, connection)
	if err == nil && n != 0 {
		err = fmt.Errorf("%d bytes more came after the last", n)
	}
	return err
}

func endOfTCP(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return notConnected
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	}
	return cause(err)
}
