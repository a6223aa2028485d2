package reserve

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
)

func TestNameIsHeldOnce(t *testing.T) {
	held, err := Name("test/name")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Name("test/name"); !errors.Is(err, ErrTaken) {
		t.Errorf("said: %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Name("test/name")
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

func TestPortInUse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	used := netip.MustParseAddrPort(listener.Addr().String()).Port()
	if _, err := Port(used); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("said: %v", err)
	}
	// A refusal leaves nothing reserved.
	held, err := Name("port/" + netip.MustParseAddrPort(listener.Addr().String()).String()[len("127.0.0.1:"):])
	if err != nil {
		t.Fatal(err)
	}
	_ = held.Close()
	if _, _, err := PortIn(used, used); !errors.Is(err, ErrTaken) {
		t.Errorf("said: %v", err)
	}
}

func TestPortsAreGivenOutOnce(t *testing.T) {
	first, held, err := PortIn(21000, 21999)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	// Nobody listens on it yet, and still:
	second, held2, err := PortIn(21000, 21999)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held2.Close() }()
	if first == second {
		t.Errorf("both got %d", first)
	}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), first).String())
	if err != nil {
		t.Fatal("a reserved port can be listened on:", err)
	}
	_ = listener.Close()
}
