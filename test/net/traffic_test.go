//go:build netns

package net

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"
)

// serve answers each connection to a port of the namespace, IPv4 or IPv6, with the
// server's name and what it says of the connection, until the spec ends.
func (n *namespace) serve(u user, port int, name string, about func(*net.TCPConn) string) {
	GinkgoHelper()
	for _, network := range []string{"tcp4", "tcp6"} {
		var listener net.Listener
		Expect(n.as(u, func() (err error) {
			listener, err = net.Listen(network, fmt.Sprintf(":%d", port))
			return err
		})).To(Succeed())
		DeferCleanup(listener.Close)
		go func() {
			for {
				connection, err := listener.Accept()
				if err != nil {
					return
				}
				go func() {
					defer func() { _ = connection.Close() }()
					fmt.Fprintf(connection, "%s %s\n", name, about(connection.(*net.TCPConn)))
					// Until the caller has it, or is gone.
					_, _ = io.Copy(connection, connection)
				}()
			}
		}()
	}
}

// caller is the address that a connection came from.
func caller(connection *net.TCPConn) string {
	return connection.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().String()
}

// called is the address that a connection was for before it was redirected: what Envoy's
// listener filter original_dst asks the kernel for.
func called(connection *net.TCPConn) string {
	raw, err := connection.SyscallConn()
	if err != nil {
		return err.Error()
	}
	var address netip.AddrPort
	err = errors.Join(raw.Control(func(fd uintptr) {
		if connection.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Is4() {
			// Large enough for a sockaddr_in, and there is no call that returns one.
			var option *unix.IPv6Mreq
			if option, err = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, unix.SO_ORIGINAL_DST); err == nil {
				bytes := option.Multiaddr
				address = netip.AddrPortFrom(netip.AddrFrom4([4]byte(bytes[4:8])), binary.BigEndian.Uint16(bytes[2:4]))
			}
			return
		}
		var option *unix.IPv6MTUInfo
		if option, err = unix.GetsockoptIPv6MTUInfo(int(fd), unix.SOL_IPV6, unix.SO_ORIGINAL_DST); err == nil {
			port := binary.NativeEndian.AppendUint16(nil, option.Addr.Port)
			address = netip.AddrPortFrom(netip.AddrFrom16(option.Addr.Addr), binary.BigEndian.Uint16(port))
		}
	}), err)
	if err != nil {
		return err.Error()
	}
	return address.String()
}

// dial connects from the namespace, as a user, from an address of its choice if not empty.
func (n *namespace) dial(u user, from, to string) (connection net.Conn, err error) {
	dialer := net.Dialer{Timeout: patience}
	if from != "" {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
	}
	err = n.as(u, func() (err error) {
		connection, err = dialer.Dial("tcp", to)
		return err
	})
	return connection, err
}

// callFrom returns what answers a connection, or "refused".
func (n *namespace) callFrom(u user, from, to string) string {
	connection, err := n.dial(u, from, to)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "refused"
	}
	if err != nil {
		return err.Error()
	}
	defer func() { _ = connection.Close() }()
	return readLine(connection)
}

// call is callFrom any address.
func (n *namespace) call(u user, to string) string { return n.callFrom(u, "", to) }

// readLine reads byte by byte, for more may follow that is not ours.
func readLine(connection net.Conn) string {
	if err := connection.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err.Error()
	}
	var line []byte
	for one := make([]byte, 1); ; {
		if _, err := connection.Read(one); err != nil {
			return fmt.Sprintf("%s%v", line, err)
		}
		if one[0] == '\n' {
			return string(line)
		}
		line = append(line, one[0])
	}
}
