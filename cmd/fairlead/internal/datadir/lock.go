package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Lock is a file that one process at a time holds. The kernel gives it back however
// that process ends, so that a held lock means a living process.
type Lock struct {
	file *os.File
}

// HeldError says that somebody else has the lock.
type HeldError struct {
	Path string
	// PID is 0 if the holder has not written it down yet.
	PID int
}

func (e *HeldError) Error() string { return fmt.Sprintf("%s is held by process %d", e.Path, e.PID) }

// Holder is what every lock file says at least.
type Holder struct {
	PID int `json:"pid"`
}

// Acquire takes the lock, or returns a *HeldError at once.
func Acquire(path string) (*Lock, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		// Open file description locks, unlike flock(2), can be looked at without taking them.
		err = unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			var holder Holder
			_ = json.NewDecoder(file).Decode(&holder)
			_ = file.Close()
			return nil, &HeldError{Path: path, PID: holder.PID}
		}
		if err != nil {
			_ = file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// Whoever held it before may have removed the file after we opened it.
		same, err := sameFile(file, path)
		if same {
			return &Lock{file: file}, nil
		}
		_ = file.Close()
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}

func sameFile(file *os.File, path string) (bool, error) {
	opened, err := file.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(opened, named), err
}

// IsHeld tells whether a living process has the lock.
func IsHeld(path string) (bool, error) {
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return false, fmt.Errorf("look at lock %s: %w", path, err)
	}
	return lock.Type != unix.F_UNLCK, nil
}

// Write replaces what the file says, as JSON.
func (l *Lock) Write(content any) error {
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err = l.file.WriteAt(append(data, '\n'), 0)
	return err
}

// Read returns what the file says; an empty file leaves the content as it is.
func (l *Lock) Read(content any) error {
	err := json.NewDecoder(io.NewSectionReader(l.file, 0, 64<<10)).Decode(content)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Release gives the lock back and keeps the file.
func (l *Lock) Release() error { return l.file.Close() }

// Remove gives the lock back and removes the file.
func (l *Lock) Remove() error {
	return errors.Join(os.Remove(l.file.Name()), l.file.Close())
}
