// Package datadir is the layout of the data folder that `fairlead up` and the
// `fairlead run`s beside it share, and the locks by which they know of each other.
//
// It makes folders and tells paths; what is in the files is for those who write them.
package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxSocketPath is the longest path of a Unix socket in bytes: sun_path has 108 and
// ends with a zero (unix(7)).
const maxSocketPath = 107

// longestSocket is the longest of all socket paths below a data folder.
const longestSocket = "/run/198.18.255.255/status.sock"

// Dir is a data folder.
type Dir struct {
	path string
}

// Create makes the folder and those in it, or takes ones that exist if they are our own.
// Everything that matters is below folders with mode 0700.
func Create(path string) (Dir, error) {
	d, err := at(path)
	if err != nil {
		return d, err
	}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return d, explain(d.path, err)
	}
	if err := d.check(); err != nil {
		return d, err
	}
	for _, folder := range []string{d.PKI(), d.Etcd(), d.Run(), d.Logs(), d.pods()} {
		if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return d, explain(d.path, err)
		}
		// One that somebody else made, or copied, may be open to others.
		if err := os.Chmod(folder, 0o700); err != nil {
			return d, explain(d.path, err)
		}
	}
	return d, nil
}

// Open takes a folder that Create made.
func Open(path string) (Dir, error) {
	d, err := at(path)
	if err != nil {
		return d, err
	}
	if _, err := os.Stat(d.pods()); err != nil {
		return d, fmt.Errorf("%s holds no cluster: start one with `fairlead up --data %s`", d.path, path)
	}
	return d, d.check()
}

func at(path string) (Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Dir{}, fmt.Errorf("data folder: %w", err)
	}
	if room := maxSocketPath - len(longestSocket); len(path) > room {
		return Dir{}, fmt.Errorf("data folder %s: its path has %d bytes, but the Unix sockets in it leave room for %d: choose a shorter one", path, len(path), room)
	}
	if strings.ContainsAny(path, ",?%#\n") {
		return Dir{}, fmt.Errorf("data folder %s: choose a path without any of , ? %% #, since flags and URLs are made of it", path)
	}
	return Dir{path: path}, nil
}

// check refuses a folder in which somebody else could replace ours.
func (d Dir) check() error {
	info, err := os.Stat(d.path)
	if err != nil {
		return explain(d.path, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("data folder %s is not a directory: choose another path", d.path)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if int(owner) != os.Geteuid() {
		return fmt.Errorf("data folder %s belongs to user id %d, but you are %d: choose a folder of your own", d.path, owner, os.Geteuid())
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("data folder %s may be written by others (mode %04o): run `chmod go-w %s`, or choose another one", d.path, info.Mode().Perm(), d.path)
	}
	return nil
}

func explain(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("data folder %s cannot be written (%w): choose one with --data that you may write", path, err)
	default:
		return fmt.Errorf("data folder %s cannot be used: %w: choose another one with --data", path, err)
	}
}

// Path is the folder's absolute path.
func (d Dir) Path() string { return d.path }

// PKI holds the cluster's certificate authority and keys.
func (d Dir) PKI() string { return d.file("pki") }

// Etcd holds every object.
func (d Dir) Etcd() string { return d.file("etcd") }

// Run holds sockets and what else lives only as long as its process.
func (d Dir) Run() string { return d.file("run") }

// Logs holds a log file for each program.
func (d Dir) Logs() string { return d.file("logs") }

// Log is the log file of a program.
func (d Dir) Log(program string) string { return filepath.Join(d.Logs(), program+".log") }

// Kubeconfig is the file that a person's kubectl uses.
func (d Dir) Kubeconfig() string { return d.file("kubeconfig") }

// XDSAddress is the file that says at which HOST:PORT the manager serves proxies and agents.
// It stays, so that the next start serves them there again.
func (d Dir) XDSAddress() string { return d.file("xds-address") }

// EtcdSocket is where etcd serves the API server.
func (d Dir) EtcdSocket() string { return filepath.Join(d.Run(), "etcd.sock") }

// EtcdPeerSocket is where etcd would talk to other members, of which there are none.
func (d Dir) EtcdPeerSocket() string { return filepath.Join(d.Run(), "peer.sock") }

// Workload is the folder of the workload with the address: short, since it holds sockets.
func (d Dir) Workload(address string) string { return filepath.Join(d.Run(), address) }

// ClusterLock is held by `fairlead up`.
func (d Dir) ClusterLock() string { return d.file("lock") }

// AddressLock is held while an address is chosen; it remembers the last one.
func (d Dir) AddressLock() string { return filepath.Join(d.Run(), "addresses") }

// PodLock is held by the `fairlead run` of a Pod for as long as it lives.
func (d Dir) PodLock(namespace, name string) string {
	// Neither may contain an underscore.
	return filepath.Join(d.pods(), namespace+"_"+name)
}

// PodLocks returns the files of all Pods, living and dead, by PodLock.
func (d Dir) PodLocks() ([]string, error) {
	entries, err := os.ReadDir(d.pods())
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, entry := range entries {
		paths = append(paths, filepath.Join(d.pods(), entry.Name()))
	}
	return paths, nil
}

func (d Dir) pods() string { return filepath.Join(d.Run(), "pods") }

func (d Dir) file(name string) string { return filepath.Join(d.path, name) }
