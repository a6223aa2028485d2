// Package reserve keeps programs of several data folders, on one machine, off each
// other's addresses and ports.
//
// A reservation is an abstract Unix socket with a telling name: the kernel gives it to
// one process only, takes it back however that process ends, and scopes it to the
// network namespace, just as the addresses are. It binds nobody who does not ask; so
// that the port is free is asked of the kernel as well.
package reserve

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrTaken says that another process has the reservation.
var ErrTaken = errors.New("reserved by another process")

// Name reserves a name until it is closed or the process ends.
func Name(name string) (io.Closer, error) {
	connection, err := net.ListenPacket("unixgram", "@fairlead/"+name)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %w", name, ErrTaken)
	}
	return connection, err
}

// Port reserves one port on which nothing listens, on whatever address.
func Port(port uint16) (io.Closer, error) {
	held, err := Name(fmt.Sprintf("port/%d", port))
	if err != nil {
		return nil, err
	}
	if err := Bindable(netip.AddrPortFrom(netip.IPv4Unspecified(), port)); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return held, nil
}

// PortIn reserves the first free port from first to last. The range should be below
// 32768, where the kernel by default takes the ports of outgoing connections from.
func PortIn(first, last uint16) (uint16, io.Closer, error) {
	for port := first; port <= last; port++ {
		held, err := Port(port)
		if err == nil {
			return port, held, nil
		}
		if !errors.Is(err, ErrTaken) && !errors.Is(err, syscall.EADDRINUSE) {
			return 0, nil, err
		}
	}
	return 0, nil, fmt.Errorf("no port from %d to %d is free: %w", first, last, ErrTaken)
}

// Bindable returns nil if a program could listen there now. Nothing listens meanwhile:
// the socket is only bound.
func Bindable(address netip.AddrPort) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	// As servers do: a port that old connections are only remembered on is free.
	if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	err = unix.Bind(socket, &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	return nil
}
