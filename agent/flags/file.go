package flags

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// longestFile is far more than all flags together can need.
const longestFile = 1 << 20

// ReadFile sets the flags that neither arguments nor environment have given from a file
// of lines "flag = value"; an empty line or one that begins with '#' says nothing. It is
// called after Read, and returns everything that is refused, with file and line.
func (s *Set) ReadFile(path string) (refused []error, err error) {
	// Of a pipe one would wait for a writer.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file: name a file of lines \"flag = value\"", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, longestFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(content) > longestFile:
		return nil, fmt.Errorf("%s is larger than %d bytes: name a file of lines \"flag = value\"", path, longestFile)
	case bytes.IndexByte(content, 0) >= 0:
		return nil, fmt.Errorf("%s is no text: name a file of lines \"flag = value\"", path)
	}
	r := fileReader{set: s, path: path, lineOf: map[string]int{}}
	for line := range strings.Lines(string(content)) {
		r.line++
		if err := r.read(strings.TrimSpace(line)); err != nil {
			refused = append(refused, fmt.Errorf("%s:%d: %w", path, r.line, err))
		}
	}
	return refused, nil
}

type fileReader struct {
	set    *Set
	path   string
	line   int
	lineOf map[string]int
}

func (r *fileReader) read(line string) error {
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	name, value, ok := strings.Cut(line, "=")
	if !ok {
		return fmt.Errorf("%.60q has no '=': write flag = value, or begin a comment with '#'", line)
	}
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	f := r.set.all.Lookup(name)
	switch {
	case f == nil && strings.HasPrefix(name, "-"):
		return fmt.Errorf("%.60q begins with '-': write the flag's name alone", name)
	case f == nil:
		return fmt.Errorf("there is no flag %.60q", name)
	case name == configFlag:
		return errors.New("a file cannot name another one: give --config as an argument or by the environment")
	case r.lineOf[name] > 0 && !isList(f):
		return fmt.Errorf("%s is given a second time, after line %d: leave one of them", name, r.lineOf[name])
	}
	if r.lineOf[name] == 0 {
		r.lineOf[name] = r.line
	}
	if r.set.given[name] {
		return nil
	}
	if err := f.Value.Set(value); err != nil {
		restoreDefault(f)
		return fmt.Errorf("%s is %q: %w", name, value, err)
	}
	r.set.from[name] = fmt.Sprintf("%s:%d", r.path, r.lineOf[name])
	return nil
}

// isList tells whether a flag may be given several times.
func isList(f *pflag.Flag) bool { return f.Value.Type() == "stringArray" }

// Locate adds file and line to problems of flags that a file gave.
func (s *Set) Locate(problems []error) []error {
	located := make([]error, len(problems))
	for i, err := range problems {
		located[i] = err
		var problem *Problem
		if errors.As(err, &problem) && s.from[problem.Flag] != "" {
			located[i] = fmt.Errorf("%s: %w", s.from[problem.Flag], err)
		}
	}
	return located
}
