package process

import (
	"bytes"
	"io"
	"os"
	"strings"
)

const (
	keptLines = 12
	// keptWidth cuts lines such as a whole configuration in JSON.
	keptWidth = 400
	tailBytes = 16 << 10
)

// lastLines returns the end of a log file, as much as a person wants to see in an error.
// The last line with the mark, if there is one, comes first where it is not among them.
func lastLines(path, mark string) []string {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	start := max(0, info.Size()-tailBytes)
	content, err := io.ReadAll(io.NewSectionReader(f, start, tailBytes))
	if err != nil {
		return nil
	}
	if start > 0 {
		// The first line is only a part of one, which is told where there is no other.
		if _, whole, _ := bytes.Cut(content, []byte("\n")); len(whole) > 0 {
			content = whole
		}
	}
	var lines []string
	for line := range strings.Lines(string(content)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if len(line) > keptWidth {
			line = strings.ToValidUTF8(line[:keptWidth], "") + " …"
		}
		lines = append(lines, line)
	}
	last := lines[max(0, len(lines)-keptLines):]
	if mark != "" {
		for i := len(lines) - len(last) - 1; i >= 0; i-- {
			if strings.Contains(lines[i], mark) {
				return append([]string{lines[i]}, last...)
			}
		}
	}
	return last
}
