package workload

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"fairlead.dev/fairlead/cmd/fairlead/internal/datadir"
	"fairlead.dev/fairlead/internal/mesh"
)

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

func tempDir(t *testing.T) datadir.Dir {
	t.Helper()
	dir, err := datadir.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustReserve(t *testing.T, dir datadir.Dir, ports []uint16, taken ...string) *address {
	t.Helper()
	set := map[netip.Addr]bool{}
	for _, text := range taken {
		set[netip.MustParseAddr(text)] = true
	}
	a, err := reserveAddress(dir, ports, set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func TestAddressesAreGivenOutInTurn(t *testing.T) {
	dir := tempDir(t)
	first := mustReserve(t, dir, []uint16{15001})
	second := mustReserve(t, dir, []uint16{15001})
	if first.pod == second.pod {
		t.Fatalf("both got %s", first.pod)
	}
	if want := mesh.LoopbackAddress(first.pod); first.local != want || !first.local.IsLoopback() {
		t.Errorf("%s is at %s here, not at %s", first.pod, first.local, want)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third := mustReserve(t, dir, []uint16{15001})
	if third.pod == first.pod {
		t.Errorf("%s was given out again at once: callers may still expect its last workload there", third.pod)
	}
}

func TestAddressOfAnotherFolderIsPassedOver(t *testing.T) {
	mine, yours := tempDir(t), tempDir(t)
	a := mustReserve(t, mine, []uint16{15001})
	b := mustReserve(t, yours, []uint16{15001})
	if a.pod == b.pod {
		t.Errorf("two data folders gave out %s", a.pod)
	}
}

func TestAddressOfAPodIsPassedOver(t *testing.T) {
	dir := tempDir(t)
	next := mustReserve(t, dir, nil).pod.Next()
	if a := mustReserve(t, dir, nil, next.String()); a.pod == next {
		t.Errorf("%s was given out, though a Pod has it", a.pod)
	}
}

func TestAddressWithAPortInUseIsPassedOver(t *testing.T) {
	dir := tempDir(t)
	next := mustReserve(t, dir, nil).pod.Next()
	listener, err := net.Listen("tcp", netip.AddrPortFrom(mesh.LoopbackAddress(next), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	used := netip.MustParseAddrPort(listener.Addr().String()).Port()
	if a := mustReserve(t, dir, []uint16{used}); a.pod == next {
		t.Errorf("%s was given out, though something listens there on %d", a.pod, used)
	}
}

func TestAddressesGoRound(t *testing.T) {
	for text, want := range map[string]string{
		"198.18.0.0":     "198.18.0.1",
		"198.18.0.254":   "198.18.1.1",
		"198.18.255.254": "198.19.0.1",
		"198.19.255.254": "198.18.0.1",
	} {
		if got := nextAddress(netip.MustParseAddr(text)); got.String() != want {
			t.Errorf("after %s comes %s, not %s", text, got, want)
		}
	}
}

func TestSpoiltAddressFile(t *testing.T) {
	dir := tempDir(t)
	lock, err := datadir.Acquire(dir.AddressLock())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(lock.Write("nonsense"), lock.Release()); err != nil {
		t.Fatal(err)
	}
	if _, err := reserveAddress(dir, nil, nil); err == nil || !strings.Contains(err.Error(), "remove that file") {
		t.Errorf("said %v", err)
	}
}
