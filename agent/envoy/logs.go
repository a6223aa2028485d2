package envoy

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

const (
	// logFormat makes Envoy's lines easy to take apart; the time is added here.
	// Together with --log-format-escaped an entry is always one line.
	logFormat = "[%l][%n] %v"
	// KeptLines is how many of Envoy's last lines are told when it ends.
	KeptLines = 50
	// maxLine is where a line is cut. Envoy quotes whole messages in some of its.
	maxLine = 4096
)

// levels are Envoy's, from its --log-level, in rising order.
var levels = []struct {
	name string
	slog slog.Level
}{
	{"trace", slog.LevelDebug - 4},
	{"debug", slog.LevelDebug},
	{"info", slog.LevelInfo},
	{"warning", slog.LevelWarn},
	{"error", slog.LevelError},
	{"critical", slog.LevelError + 4},
}

// LogLevel is the severity that Envoy's level of that name has here.
func LogLevel(name string) (slog.Level, error) {
	var names []string
	for _, level := range levels {
		if level.name == name {
			return level.slog, nil
		}
		names = append(names, level.name)
	}
	return 0, fmt.Errorf("%q is not a log level of Envoy: use one of %s", name, strings.Join(names, ", "))
}

// envoyLevel is what to tell Envoy so that it writes lines of the given level, and
// those from info on, which are kept for the case that it dies.
func envoyLevel(shown slog.Level) string {
	for _, level := range levels {
		if level.slog >= min(shown, slog.LevelInfo) {
			return level.name
		}
	}
	return "info"
}

// line is one entry of Envoy's log.
type line struct {
	level   slog.Level
	logger  string
	message string
}

// parseLine also takes lines that are not in our format: what Envoy writes before it
// has read its arguments, and what its allocator or a crash writes.
func parseLine(text string) line {
	unknown := line{level: slog.LevelWarn, message: text}
	rest, ok := strings.CutPrefix(text, "[")
	if !ok {
		return unknown
	}
	name, rest, ok := strings.Cut(rest, "][")
	if !ok {
		return unknown
	}
	logger, message, ok := strings.Cut(rest, "] ")
	if !ok {
		return unknown
	}
	level, err := LogLevel(name)
	if err != nil {
		return unknown
	}
	return line{level: level, logger: logger, message: message}
}

// logWriter is Envoy's standard error: it logs each line as a record and keeps the
// last ones.
type logWriter struct {
	log   *slog.Logger
	shown slog.Level

	mu      sync.Mutex
	partial []byte
	cut     bool
	kept    []string
	errors  []string
}

func newLogWriter(log *slog.Logger, shown slog.Level) *logWriter {
	return &logWriter{log: log, shown: shown}
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	written := len(p)
	for {
		text, rest, complete := bytes.Cut(p, []byte("\n"))
		w.add(text)
		if !complete {
			return written, nil
		}
		w.flush()
		p = rest
	}
}

func (w *logWriter) add(text []byte) {
	if room := maxLine - len(w.partial); len(text) > room {
		text, w.cut = text[:room], true
	}
	w.partial = append(w.partial, text...)
}

func (w *logWriter) flush() {
	text := string(w.partial)
	if w.cut {
		text += "…"
	}
	w.partial, w.cut = w.partial[:0], false
	if text == "" {
		return
	}
	entry := parseLine(text)
	if entry.level >= w.shown {
		attrs := []slog.Attr{}
		if entry.logger != "" {
			attrs = append(attrs, slog.String("logger", entry.logger))
		}
		w.log.LogAttrs(context.Background(), entry.level, entry.message, attrs...)
	}
	// At its start Envoy lists its extensions, 25 KB of indented lines at level info,
	// which tell nothing about why it ended.
	if entry.level <= slog.LevelInfo && strings.HasPrefix(entry.message, "  ") {
		return
	}
	w.kept = append(w.kept, text)
	if len(w.kept) > KeptLines {
		w.kept = slices.Delete(w.kept, 0, len(w.kept)-KeptLines)
	}
	if entry.level >= slog.LevelError {
		w.errors = append(w.errors, entry.message)
		if len(w.errors) > KeptLines {
			w.errors = slices.Delete(w.errors, 0, len(w.errors)-KeptLines)
		}
	}
}

// last are Envoy's last lines, oldest first. A line without an end is one of them:
// a process that is killed rarely finishes its sentence.
func (w *logWriter) last() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.partial) > 0 {
		w.flush()
	}
	return slices.Clone(w.kept)
}

// complaints are what Envoy said at level error or above, or all it said.
func (w *logWriter) complaints() []string {
	last := w.last()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.errors) > 0 {
		return slices.Clone(w.errors)
	}
	return last
}
