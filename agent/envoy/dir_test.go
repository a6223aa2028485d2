package envoy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func open(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func names(t *testing.T, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		found = append(found, entry.Name())
	}
	return found
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenDirCreatesAPrivateFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "agent")
	d := open(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode is %#o, want 0700", info.Mode().Perm())
	}
	if d.AdminSocket() != path+"/admin.sock" || d.Bootstrap(3) != path+"/envoy-rev3.json" || d.BaseID() != path+"/base-id" {
		t.Errorf("names are %s, %s, %s", d.AdminSocket(), d.Bootstrap(3), d.BaseID())
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenDirRefuses(t *testing.T) {
	base := t.TempDir()
	write(t, filepath.Join(base, "file"), "")
	public := filepath.Join(base, "public")
	if err := os.Mkdir(public, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(public, filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(base, "taken")
	holder := open(t, taken)
	defer func() { _ = holder.Close() }()

	for path, want := range map[string]string{
		"":                               "is empty: name a folder of this agent alone",
		filepath.Join(base, "file"):      "not a directory",
		filepath.Join(base, "file", "x"): "not a directory",
		filepath.Join(base, "link"):      "is not a directory: name one, or a path that the agent may create",
		public:                           "has mode 0755, so others can reach Envoy's administration socket: chmod 700 it",
		taken:                            fmt.Sprintf("in use by another agent (pid %d): give each agent a folder of its own", os.Getpid()),
		"/" + strings.Repeat("x", 120):   "is 121 bytes long, but the sockets in it leave room for 95: choose a shorter path",
	} {
		d, err := OpenDir(path)
		if err == nil {
			_ = d.Close()
			t.Errorf("OpenDir(%q) took it, want: %s", path, want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("OpenDir(%q) = %v, want: %s", path, err, want)
		}
	}
	if os.Geteuid() == 0 {
		foreign := filepath.Join(base, "foreign")
		if err := os.Mkdir(foreign, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(foreign, 12345, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenDir(foreign); err == nil || !strings.Contains(err.Error(), "belongs to uid 12345") {
			t.Errorf("OpenDir of a foreign folder = %v", err)
		}
	}
}

func TestDirPathLeavesRoomForItsSockets(t *testing.T) {
	longest := "/" + strings.Repeat("x", MaxSocketPath-len("/status.sock")-1)
	path, err := DirPath(longest)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(StatusSocket(path)); n != MaxSocketPath {
		t.Errorf("the longest socket has %d bytes, want %d", n, MaxSocketPath)
	}
	if _, err := DirPath(longest + "x"); err == nil {
		t.Error("one byte more was taken")
	}
}

func TestOpenDirRemovesWhatAnEarlierAgentLeft(t *testing.T) {
	// Glob's own letters in the path must not reach other folders.
	path := filepath.Join(t.TempDir(), "a[b]*?")
	// A base id that Envoy could not have: it takes numbers below 2^28.
	const unusedID = 1<<28 + 7
	shared := fmt.Sprintf("%s%d", sharedMemory, unusedID*10)
	d := open(t, path)
	write(t, shared, "")
	defer func() { _ = os.Remove(shared) }()
	write(t, d.BaseID(), fmt.Sprintf("%d\n", unusedID))
	for _, name := range []string{"envoy-rev0.json", "envoy-rev12.json", "admin.sock", "hr_parent_70", "hr_child_70", "mine.txt"} {
		write(t, filepath.Join(path, name), "")
	}
	// As after kill -9: the kernel gives the lock back, and nothing else is done.
	if err := d.lock.Close(); err != nil {
		t.Fatal(err)
	}

	d = open(t, path)
	if got, want := names(t, path), []string{"lock", "mine.txt"}; !slices.Equal(got, want) {
		t.Errorf("after opening again there is %q, want %q", got, want)
	}
	if _, err := os.Stat(shared); !os.IsNotExist(err) {
		t.Errorf("shared memory of the dead epoch is still there: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseLeavesTheBootstrapAndGivesTheFolderBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent")
	for range 2 {
		d := open(t, path)
		file, err := d.writeBootstrap(0, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the bootstrap has mode %v, %v, want 0600", info.Mode(), err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := names(t, path), []string{"envoy-rev0.json", "lock"}; !slices.Equal(got, want) {
			t.Errorf("after closing there is %q, want %q", got, want)
		}
	}
}

// Whoever may write into the folder could otherwise have another file overwritten.
func TestWriteBootstrapDoesNotFollowLinks(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "agent"))
	defer func() { _ = d.Close() }()
	victim := filepath.Join(t.TempDir(), "victim")
	write(t, victim, "precious")
	if err := os.Symlink(victim, d.Bootstrap(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.writeBootstrap(0, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(victim)
	if err != nil || string(content) != "precious" {
		t.Errorf("the link's target is now %q, %v", content, err)
	}
}
