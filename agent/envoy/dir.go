package envoy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"fairlead.dev/fairlead/agent/certs"
)

// MaxSocketPath is the longest path of a Unix socket in bytes: sun_path has 108 and
// ends with a zero (unix(7)).
const MaxSocketPath = 107

const (
	adminSocketName  = "admin.sock"
	statusSocketName = "status.sock"
	baseIDName       = "base-id"
	lockName         = "lock"
	pressurePrefix   = "pressure-"
	// hotRestartName is the prefix of the sockets over which epochs talk. Envoy adds
	// a role and a number to it. It is short and used relative to the folder, so that
	// the folder's own path may be long.
	hotRestartName = "hr"
	// sharedMemory is what Envoy's epochs share; a killed Envoy leaves it behind.
	sharedMemory = "/dev/shm/envoy_shared_memory_"
)

// Dir is the folder that belongs to one agent: its bootstraps, Envoy's base id and
// sockets. Nobody else may look into it, and only one agent at a time may use it.
type Dir struct {
	path string
	lock *os.File
}

// DirPath makes a folder's path absolute and refuses one that is too long for the
// sockets in it. It touches nothing.
func DirPath(path string) (string, error) {
	if path == "" {
		return "", errors.New("is empty: name a folder of this agent alone")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if room := MaxSocketPath - len("/"+statusSocketName); len(path) > room {
		return "", fmt.Errorf("%s is %d bytes long, but the sockets in it leave room for %d: choose a shorter path", path, len(path), room)
	}
	return path, nil
}

// OpenDir creates the folder with mode 0700, or takes one that exists if it is our
// own and closed to others, locks it, and removes what an earlier agent left there.
// Files of other names are not touched.
func OpenDir(path string) (*Dir, error) {
	path, err := DirPath(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create the agent's folder: %w", err)
	}
	if err := checkPrivate(path); err != nil {
		return nil, err
	}
	d := &Dir{path: path}
	if err := d.acquire(); err != nil {
		return nil, err
	}
	if err := errors.Join(d.removeRuntimeFiles(), d.remove("envoy-rev*.json")); err != nil {
		return nil, errors.Join(err, d.lock.Close())
	}
	return d, nil
}

func checkPrivate(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory: name one, or a path that the agent may create", path)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() {
		return fmt.Errorf("%s belongs to uid %d, but the agent runs as uid %d: name a folder inside it that the agent may create", path, owner, os.Geteuid())
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %#o, so others can reach Envoy's administration socket: chmod 700 it, or name a folder that the agent may create", path, mode)
	}
	return nil
}

// acquire takes a lock that the kernel gives back however the agent ends.
func (d *Dir) acquire() error {
	lock, err := os.OpenFile(d.file(lockName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("lock the agent's folder: %w", err)
	}
	switch err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		holder := make([]byte, 20)
		n, _ := lock.Read(holder)
		_ = lock.Close()
		return fmt.Errorf("%s is in use by another agent (pid %s): give each agent a folder of its own", d.path, strings.TrimSpace(string(holder[:n])))
	case err != nil:
		_ = lock.Close()
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if err := errors.Join(lock.Truncate(0), writeAt(lock, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		_ = lock.Close()
		return fmt.Errorf("write %s: %w", lock.Name(), err)
	}
	d.lock = lock
	return nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// Close removes sockets, shared memory and the copies of certificates, and gives the
// folder back. The last bootstrap stays, for whoever wants to know what was running. So
// does the lock file: were it removed, one agent could lock the removed file and another
// its successor.
func (d *Dir) Close() error {
	return errors.Join(d.removeRuntimeFiles(), os.RemoveAll(certs.PathsIn(d.path).Folder), d.lock.Truncate(0), d.lock.Close())
}

// Path is the absolute path of the folder.
func (d *Dir) Path() string { return d.path }

// AdminSocket is where the Envoy of the agent with the given folder serves its
// administration interface. It is the same for all epochs: a new one takes the path
// over from its predecessor.
func AdminSocket(dir string) string { return filepath.Join(dir, adminSocketName) }

// StatusSocket is where the agent with the given folder answers for itself, unless it
// is told another address.
func StatusSocket(dir string) string { return filepath.Join(dir, statusSocketName) }

// AdminSocket is the folder's own.
func (d *Dir) AdminSocket() string { return AdminSocket(d.path) }

// Bootstrap is the file that Envoy starts its given epoch from.
func (d *Dir) Bootstrap(epoch int) string { return d.file(fmt.Sprintf("envoy-rev%d.json", epoch)) }

// PressureFile is the file by which the given epoch of the agent with the given folder is
// told to end its connections.
func PressureFile(dir string, epoch int) string {
	return filepath.Join(dir, pressurePrefix+strconv.Itoa(epoch))
}

// Pressure is the folder's own.
func (d *Dir) Pressure(epoch int) string { return PressureFile(d.path, epoch) }

// press makes an epoch end its connections politely: what it answers says that the
// connection closes, and HTTP/2 connections are told to go away at once. Envoy's
// overload manager watches the file, so this reaches an epoch whose administration
// interface its successor has closed.
func (d *Dir) press(epoch int) error {
	// It takes a rename: what is written in place is not seen, or seen half.
	if err := os.Rename(d.unpressed(epoch), d.Pressure(epoch)); err != nil && !pressed(d.Pressure(epoch)) {
		return fmt.Errorf("ask epoch %d to end its connections: %w", epoch, err)
	}
	return nil
}

func pressed(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// unpressed is what becomes the pressure file. It is written beforehand, so that a disk
// which is full meanwhile costs no connection.
func (d *Dir) unpressed(epoch int) string {
	return d.file(fmt.Sprintf("%snext-%d", pressurePrefix, epoch))
}

// release takes the pressure from an epoch that is to start.
func (d *Dir) release(epoch int) error {
	return errors.Join(ignoreMissing(os.Remove(d.Pressure(epoch))), os.WriteFile(d.unpressed(epoch), []byte("1\n"), 0o600))
}

// baseID is what epoch 0 wrote for its successors.
func (d *Dir) baseID() (uint64, error) {
	content, err := os.ReadFile(d.BaseID())
	if err != nil {
		return 0, fmt.Errorf("envoy's base id: %w", err)
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(content)), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("envoy's base id in %s: %w", d.BaseID(), err)
	}
	return id, nil
}

// The memory that epochs share (Envoy's hot_restart_impl.h): size, version, two locks,
// and a word of flags, of which the lowest says that an epoch is initializing.
const (
	sharedSize        = 104
	sharedFlagsAt     = 96
	sharedInitializes = 1
)

// forgetInitializing takes back what an epoch that died while it initialized left in
// the shared memory. No other epoch could be started beside the living one otherwise:
// Envoy says "previous envoy process is still initializing". It may be called only while
// no epoch initializes. A layout that is not the known one is left alone.
func (d *Dir) forgetInitializing() error {
	id, err := d.baseID()
	if err != nil {
		return err
	}
	shared, err := os.OpenFile(sharedMemory+strconv.FormatUint(id*10, 10), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = shared.Close() }()
	content, err := io.ReadAll(io.LimitReader(shared, sharedSize+1))
	if err != nil || len(content) != sharedSize || binary.NativeEndian.Uint64(content) != sharedSize {
		return errors.Join(errors.New("envoy's shared memory is not laid out as it was in 1.40"), err)
	}
	if binary.NativeEndian.Uint64(content[sharedFlagsAt:]) == sharedInitializes {
		_, err = shared.WriteAt(make([]byte, sharedSize-sharedFlagsAt), sharedFlagsAt)
	}
	return err
}

// BaseID is the file in which epoch 0 tells later epochs how to find it.
func (d *Dir) BaseID() string { return d.file(baseIDName) }

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

// writeBootstrap never follows or overwrites what is there.
func (d *Dir) writeBootstrap(epoch int, content []byte) (string, error) {
	path := d.Bootstrap(epoch)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("replace the bootstrap: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("write the bootstrap: %w", err)
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("write the bootstrap: %w", err)
	}
	return path, nil
}

func (d *Dir) removeRuntimeFiles() error {
	var shared error
	if id, err := d.baseID(); err == nil {
		// Envoy's own name for it is its base id followed by one more digit, 0.
		shared = ignoreMissing(os.Remove(sharedMemory + strconv.FormatUint(id*10, 10)))
	}
	return errors.Join(shared, d.remove(baseIDName), d.remove(adminSocketName), d.remove(hotRestartName+"_*"), d.remove(pressurePrefix+"*"),
		ignoreMissing(os.Remove(certs.PathsIn(d.path).ProofSocket)))
}

func (d *Dir) remove(pattern string) error {
	// Escaped, since the folder's path may contain what Glob would expand.
	matches, err := filepath.Glob(globEscaper.Replace(d.path) + "/" + pattern)
	for _, match := range matches {
		err = errors.Join(err, ignoreMissing(os.Remove(match)))
	}
	return err
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
