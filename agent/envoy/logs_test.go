package envoy

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func TestParseLine(t *testing.T) {
	for text, want := range map[string]line{
		"[info][main] starting main dispatch loop":         {slog.LevelInfo, "main", "starting main dispatch loop"},
		"[critical][backtrace] Caught Segmentation fault":  {slog.LevelError + 4, "backtrace", "Caught Segmentation fault"},
		"[trace][http2] [C1] [S2] headers":                 {slog.LevelDebug - 4, "http2", "[C1] [S2] headers"},
		"[warning][config] a \\n b":                        {slog.LevelWarn, "config", "a \\n b"},
		"external/tcmalloc/tcmalloc.cc:12] CHECK failed":   {slog.LevelWarn, "", "external/tcmalloc/tcmalloc.cc:12] CHECK failed"},
		"[info] no logger":                                 {slog.LevelWarn, "", "[info] no logger"},
		"[info][unended":                                   {slog.LevelWarn, "", "[info][unended"},
		"[loud][main] a level of no Envoy":                 {slog.LevelWarn, "", "[loud][main] a level of no Envoy"},
		"PARSE ERROR: Argument: --drain-time-s, no number": {slog.LevelWarn, "", "PARSE ERROR: Argument: --drain-time-s, no number"},
	} {
		if got := parseLine(text); got != want {
			t.Errorf("parseLine(%q) = %+v, want %+v", text, got, want)
		}
	}
}

func TestLogLevels(t *testing.T) {
	for _, test := range []struct {
		shown string
		// told is what Envoy is started with.
		told string
	}{
		{"trace", "trace"}, {"debug", "debug"}, {"info", "info"},
		// The last lines are to be of use, whatever is shown.
		{"warning", "info"}, {"error", "info"}, {"critical", "info"},
	} {
		level, err := LogLevel(test.shown)
		if err != nil {
			t.Fatal(err)
		}
		if got := envoyLevel(level); got != test.told {
			t.Errorf("to show %s, Envoy is to log at %s, want %s", test.shown, got, test.told)
		}
	}
	if _, err := LogLevel("warn"); err == nil || !strings.Contains(err.Error(), "use one of trace, debug, info, warning, error, critical") {
		t.Errorf("LogLevel(warn) = %v, want the names that Envoy knows", err)
	}
}

// written returns a writer, and what it has logged so far.
func written(shown slog.Level) (*logWriter, *bytes.Buffer) {
	var out bytes.Buffer
	handler := slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: slog.LevelDebug - 4,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})
	return newLogWriter(slog.New(handler), shown), &out
}

func TestLinesBecomeRecords(t *testing.T) {
	w, out := written(slog.LevelWarn)
	// As a pipe may hand them over.
	for _, chunk := range []string{"[info][main] quiet\n[warn", "ing][config] first", " half\n", "\n", "[error][upstream] second\n[warning][main] unfinished"} {
		if n, err := w.Write([]byte(chunk)); n != len(chunk) || err != nil {
			t.Fatalf("Write(%q) = %d, %v", chunk, n, err)
		}
	}
	want := "level=WARN msg=\"first half\" logger=config\nlevel=ERROR msg=second logger=upstream\n"
	if out.String() != want {
		t.Errorf("logged\n%s\nwant\n%s", out, want)
	}
	last := []string{"[info][main] quiet", "[warning][config] first half", "[error][upstream] second", "[warning][main] unfinished"}
	if got := w.last(); !slices.Equal(got, last) {
		t.Errorf("last lines are %q, want %q", got, last)
	}
	if got := w.complaints(); !slices.Equal(got, []string{"second"}) {
		t.Errorf("complaints are %q, want the line at level error", got)
	}
}

func TestLongLinesAreCut(t *testing.T) {
	w, _ := written(slog.LevelError)
	for range 3 {
		fmt.Fprint(w, strings.Repeat("x", maxLine-1))
	}
	fmt.Fprint(w, "\nnext\n")
	want := []string{strings.Repeat("x", maxLine) + "…", "next"}
	if got := w.last(); !slices.Equal(got, want) {
		t.Errorf("kept %d lines of %d bytes and more, want one of %d and %q", len(got), len(got[0]), maxLine, "next")
	}
}

func TestOnlyTheLastLinesAreKept(t *testing.T) {
	w, _ := written(slog.LevelError + 8)
	for i := range 3 * KeptLines {
		fmt.Fprintf(w, "[error][main] %d\n", i)
		// The list of extensions, which Envoy indents.
		fmt.Fprint(w, "[info][main]   envoy.filters.http: a, b\n")
	}
	last := w.last()
	if len(last) != KeptLines || last[0] != "[error][main] 100" || last[KeptLines-1] != "[error][main] 149" {
		t.Errorf("kept %d lines, %q to %q", len(last), last[0], last[len(last)-1])
	}
	if got := w.complaints(); len(got) != KeptLines || got[0] != "100" {
		t.Errorf("kept %d complaints from %q on", len(got), got[0])
	}
}

func TestWithoutAnErrorAllLinesAreComplaints(t *testing.T) {
	w, _ := written(slog.LevelError)
	fmt.Fprint(w, "PARSE ERROR: Argument: --x\n")
	if got := w.complaints(); !slices.Equal(got, []string{"PARSE ERROR: Argument: --x"}) {
		t.Errorf("complaints are %q", got)
	}
}
