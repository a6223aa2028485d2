package logging

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatIsWrittenComesInOrder(t *testing.T) {
	var out bytes.Buffer
	w := New(&out)
	var want strings.Builder
	line := []byte("line 000\n")
	for n := range keptLines / 2 {
		copy(line, fmt.Sprintf("line %03d", n))
		fmt.Fprintf(&want, "line %03d\n", n)
		if _, err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	w.Close()
	if _, err := w.Write([]byte("late")); err != nil {
		t.Error(err)
	}
	if out.String() != want.String() {
		t.Errorf("%d bytes came, of %d", out.Len(), want.Len())
	}
}

// A reader that is stuck costs lines, and never time.
func TestAStuckReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read, write := io.Pipe()
		w := New(write)
		started := time.Now()
		const lines = 3 * keptLines
		for range lines {
			_, _ = w.Write([]byte("x\n"))
		}
		if waited := time.Since(started); waited != 0 {
			t.Errorf("writing took %s", waited)
		}
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			w.Close()
		}()
		<-closed
		if waited := time.Since(started); waited != patience {
			t.Errorf("the end took %s, want %s", waited, patience)
		}
		// It reads again.
		text := make(chan string)
		go func() {
			content, _ := io.ReadAll(read)
			text <- string(content)
		}()
		<-w.done
		_ = write.Close()
		got := <-text
		kept := strings.Count(got, "x\n")
		var dropped int
		for line := range strings.Lines(got) {
			if strings.HasPrefix(line, "fairlead-agent") {
				if _, err := fmt.Sscanf(line, "fairlead-agent: %d log records", &dropped); err != nil {
					t.Error(err)
				}
			}
		}
		if kept+dropped != lines || dropped == 0 {
			t.Errorf("%d lines were kept and %d told as dropped, of %d", kept, dropped, lines)
		}
	})
}
