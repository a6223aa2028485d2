package envoy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// versionTimeout is far beyond the few milliseconds that the question takes.
const versionTimeout = 10 * time.Second

// identity tells one file from another that took its place.
type identity struct {
	device, inode uint64
	size          int64
	changed       time.Time
}

// identify follows symbolic links, since an update often replaces one.
func identify(path string) (identity, error) {
	info, err := os.Stat(path)
	if err != nil {
		return identity{}, err
	}
	id := identity{size: info.Size(), changed: info.ModTime()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		id.device, id.inode = stat.Dev, stat.Ino
	}
	return id, nil
}

// program is the Envoy that a path named when it was looked at.
type program struct {
	identity identity
	// hotRestart is the version of the protocol between epochs, such as 11.104: those
	// that differ cannot talk to each other.
	hotRestart string
}

// inspect asks the binary for its hot-restart version. known is returned as it is if
// the file is still the same.
func (s *Supervisor) inspect(ctx context.Context, known program) (program, error) {
	id, err := identify(s.options.Binary)
	if err != nil {
		return program{}, fmt.Errorf("look at envoy: %w", err)
	}
	if id == known.identity {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	var output strings.Builder
	cmd := exec.CommandContext(ctx, s.options.Binary, "--hot-restart-version")
	// 1.40 writes it to standard error.
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = time.Second
	if err := s.launcher.start(cmd); err != nil {
		return program{}, fmt.Errorf("ask %s for its hot-restart version: %w", s.options.Binary, err)
	}
	if err := cmd.Wait(); err != nil {
		return program{}, fmt.Errorf("ask %s for its hot-restart version: %w", s.options.Binary, err)
	}
	return program{identity: id, hotRestart: strings.TrimSpace(output.String())}, nil
}
