package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"fairlead.dev/fairlead/test/testenv"
)

const (
	beginMark = "<!-- begin: written by make test-chaos -->"
	endMark   = "<!-- end: written by make test-chaos -->"
)

// writePage puts what was measured between the marks of docs/reliability.md.
func writePage(t *testing.T, played []*scene) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%d CPUs (%s), %s.\n\n", runtime.NumCPU(), runtime.GOARCH, runtime.Version())
	b.WriteString("| event | times | may be lost | lost | requests/s | seen |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, s := range played {
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %d | %s |\n", cell(s.row.event), s.times, cell(s.row.mayLose),
			cell(s.load.failed()), s.load.rate(), cell(strings.Join(s.seen, "; ")))
	}
	b.WriteString("\nWhat went through meanwhile, and what had no end of its own and was cut off:\n\n")
	b.WriteString("| event | load | cut off |\n| --- | --- | --- |\n")
	for _, s := range played {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(s.row.event), cell(s.load.volume()), cell(s.load.apart()))
	}
	path := filepath.Join(testenv.Root(), "docs", "reliability.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(page), beginMark)
	_, after, ended := strings.Cut(rest, endMark)
	if !begun || !ended {
		t.Fatalf("%s has no lines %s and %s", path, beginMark, endMark)
	}
	if err := os.WriteFile(path, []byte(before+beginMark+"\n\n"+b.String()+"\n"+endMark+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }
