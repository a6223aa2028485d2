package cluster

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlead.dev/fairlead/cmd/fairlead/internal/datadir"
)

func TestPortOfTheLastStart(t *testing.T) {
	dir, err := datadir.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if last := lastPortOf(dir); last != 0 {
		t.Errorf("of a new folder: %d", last)
	}
	if _, err := grantAccess(dir, 17001, now); err != nil {
		t.Fatal(err)
	}
	if last := lastPortOf(dir); last != 17001 {
		t.Errorf("was %d", last)
	}
}

func TestPortChoice(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	used := netip.MustParseAddrPort(listener.Addr().String()).Port()

	if _, _, err := choosePort(used, 0); err == nil || !strings.Contains(err.Error(), "in use by another program") {
		t.Errorf("said: %v", err)
	}
	port, held, err := choosePort(0, used)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	if port < firstPort || port > lastPort {
		t.Errorf("chose %d, while the last one was in use", port)
	}
	again, held2, err := choosePort(0, 17002)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held2.Close() }()
	if again != 17002 {
		t.Errorf("chose %d, while the last one was free", again)
	}
}

func TestMissingProgram(t *testing.T) {
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	p := Programs{Etcd: path("etcd"), APIServer: path("kube-apiserver"), ControllerManager: path("kube-controller-manager"), Manager: path("fairlead-manager")}
	for _, step := range []struct{ missing, target string }{
		{p.Etcd, "make kube"}, {p.APIServer, "make kube"}, {p.ControllerManager, "make kube"}, {p.Manager, "make build"},
	} {
		err := p.check(true)
		if err == nil || !strings.Contains(err.Error(), step.missing) || !strings.Contains(err.Error(), step.target) {
			t.Errorf("without %s: %v", step.missing, err)
		}
		if err := os.WriteFile(step.missing, nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.check(true); err != nil {
		t.Error(err)
	}
}
