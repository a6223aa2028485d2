package certs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	// dataLink is how the kubelet swaps the files of a volume: each is a symlink
	// through it, and it is replaced by one rename.
	dataLink = "..data"
	// maxFile is the most that a Secret can hold (a Kubernetes object's limit).
	maxFile = 1 << 20
)

// errChanging means that the files were being written while they were read.
var errChanging = errors.New("has files that are still being written: write each to another name, close it, and rename it")

// readMount reads the three files of one generation: it reads them twice, and takes them
// if they have not changed in between.
func readMount(mount string) (files, error) {
	folder, err := generationOf(mount)
	if err != nil {
		return nil, err
	}
	first, err := readAll(folder)
	if err != nil {
		if again, changed := generationOf(mount); changed != nil || again != folder {
			// The kubelet removes a generation once the next is there.
			return nil, errChanging
		}
		return nil, err
	}
	if folder != mount {
		// Nobody writes to a generation of the kubelet's once its link is there.
		return first, nil
	}
	second, err := readAll(folder)
	if err != nil {
		return nil, errChanging
	}
	for _, name := range fileNames {
		if !bytes.Equal(first[name], second[name]) || beingWritten(filepath.Join(folder, name)) {
			return nil, errChanging
		}
	}
	return first, nil
}

// beingWritten tells whether somebody has the file open for writing, as far as it can be
// known: half a bundle of roots may look like a whole one. The kernel grants no read
// lease on such a file (fcntl(2)), and none at all to who does not own it.
func beingWritten(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return true
	}
	defer func() { _ = f.Close() }()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		// Closing would do it, too, but whoever wants to write waits until then.
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return errors.Is(err, unix.EAGAIN)
}

// generationOf resolves the kubelet's link once, so that all files come from behind the
// same one. A plain folder is its own generation.
func generationOf(mount string) (string, error) {
	target, err := os.Readlink(filepath.Join(mount, dataLink))
	switch {
	case err == nil && filepath.IsAbs(target):
		return target, nil
	case err == nil:
		return filepath.Join(mount, target), nil
	}
	switch info, err := os.Stat(mount); {
	case errors.Is(err, fs.ErrNotExist):
		return "", &complaint{mount, "is not there: mount the certificates at this path, or name the folder where they are", err}
	case err != nil:
		return "", &complaint{mount, "cannot be looked into", err}
	case !info.IsDir():
		return "", complain(mount, "is not a folder: name the folder that holds %s, %s and %s", KeyFile, ChainFile, RootsFile)
	}
	return mount, nil
}

func readAll(folder string) (files, error) {
	found := files{}
	for _, name := range fileNames {
		content, err := readFile(filepath.Join(folder, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, &complaint{name, "is not there: the folder has to hold " + KeyFile + ", " + ChainFile + " and " + RootsFile, err}
		case errors.Is(err, fs.ErrPermission):
			return nil, &complaint{name, fmt.Sprintf("may not be read by uid %d: give the volume a defaultMode or the Pod an fsGroup that lets it", os.Geteuid()), err}
		case err != nil:
			return nil, &complaint{name, "cannot be read", err}
		}
		found[name] = content
	}
	return found, nil
}

// readFile reads a regular file. Anything else could hold the reader up for ever, even
// while it is being opened.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	switch info, err := f.Stat(); {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return content, err
}
