// Package logging keeps whoever reads the agent's log from slowing what is logged.
//
// Envoy writes its log to a pipe that the agent reads; an agent that waited for a reader
// of its own would make Envoy's threads wait for that reader too. So lines are handed
// over and written by a goroutine of their own; where they come faster than they are
// read, they are dropped, and how many is told as soon as there is room. It knows
// nothing of what is in a line.
package logging

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// keptLines is how many lines wait for the reader: some hundred KB.
	keptLines = 1024
	// patience is how long at the end the reader may take for what is left.
	patience = 2 * time.Second
)

// Writer hands on what is written to it, each Write as a whole, and never waits.
type Writer struct {
	out     io.Writer
	lines   chan []byte
	dropped atomic.Int64
	done    chan struct{}
	mu      sync.RWMutex
	closed  bool
}

// New starts to write to out. The caller closes it.
func New(out io.Writer) *Writer {
	w := &Writer{out: out, lines: make(chan []byte, keptLines), done: make(chan struct{})}
	go w.write()
	return w
}

// Write takes a copy. What is written after Close is lost.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return len(p), nil
	}
	select {
	case w.lines <- append([]byte(nil), p...):
	default:
		w.dropped.Add(1)
	}
	return len(p), nil
}

func (w *Writer) write() {
	defer close(w.done)
	for line := range w.lines {
		// There is nobody to tell that nobody can be told.
		_, _ = w.out.Write(line)
		if n := w.dropped.Swap(0); n > 0 {
			_, _ = fmt.Fprintf(w.out, "fairlead-agent: %d log records were dropped here, since nobody read them in time\n", n)
		}
	}
}

// Close waits until what was written is handed on, or the reader takes too long.
func (w *Writer) Close() {
	w.mu.Lock()
	alreadyClosed := w.closed
	w.closed = true
	w.mu.Unlock()
	if alreadyClosed {
		return
	}
	close(w.lines)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
	}
}
