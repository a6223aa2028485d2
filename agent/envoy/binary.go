package envoy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// versionTimeout is far beyond the few milliseconds that the question takes.
const versionTimeout = 10 * time.Second

// SameFile tells whether a path still leads to the same content, by what os.Stat says
// of it, which follows symbolic links: an update often replaces one.
func SameFile(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// program is the Envoy that a path named when it was looked at.
type program struct {
	file os.FileInfo
	// hotRestart is the version of the protocol between epochs, such as 11.104: those
	// that differ cannot talk to each other.
	hotRestart string
}

// inspect asks the binary for its hot-restart version. known is returned as it is if
// the file is still the same.
func (s *Supervisor) inspect(ctx context.Context, known program) (program, error) {
	file, err := os.Stat(s.options.Binary)
	if err != nil {
		return program{}, fmt.Errorf("look at envoy: %w", err)
	}
	if SameFile(file, known.file) {
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
	return program{file: file, hotRestart: strings.TrimSpace(output.String())}, nil
}
