package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
)

// figures are what the story measured.
type figures struct {
	list []figure
	// complete is set when the story came to its end.
	complete bool
}

type figure struct {
	name, measured string
	// judged figures decide whether the demo passed: counts and shares. Times and sizes are
	// only told, since a machine may be busy with something else.
	judged, held bool
}

// judge records a figure that has to hold.
func (f *figures) judge(name string, held bool, format string, args ...any) {
	f.list = append(f.list, figure{name: name, measured: fmt.Sprintf(format, args...), judged: true, held: held})
}

// note records a figure that is only told.
func (f *figures) note(name, format string, args ...any) {
	f.list = append(f.list, figure{name: name, measured: fmt.Sprintf(format, args...)})
}

// held reports whether the story came to its end with every judged figure as it has to be.
func (f *figures) held() bool {
	for _, one := range f.list {
		if one.judged && !one.held {
			return false
		}
	}
	return f.complete
}

func (f *figures) print(out io.Writer) {
	title(out, "What was measured")
	for _, one := range f.list {
		mark := "      "
		switch {
		case one.judged && one.held:
			mark = "ok    "
		case one.judged:
			mark = "FAILED"
		}
		fmt.Fprintf(out, "  %s  %-58s %s\n", mark, one.name, one.measured)
	}
}

// write puts the figures into a file, if one is named.
func (f *figures) write(path string) error {
	if path == "" {
		return nil
	}
	type written struct {
		Name     string `json:"name"`
		Measured string `json:"measured"`
	}
	var list []written
	for _, one := range f.list {
		list = append(list, written{one.name, one.measured})
	}
	encoded, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, encoded, 0o644)
}

// nearly reports whether a count is what a share of n independent requests gives: within
// five standard deviations, which chance leaves once in 1.7 million times.
func nearly(count, n int, share float64) bool {
	deviation := math.Sqrt(float64(n) * share * (1 - share))
	return math.Abs(float64(count)-float64(n)*share) <= 5*deviation
}

func title(out io.Writer, text string) {
	fmt.Fprintf(out, "\n== %s\n\n", text)
}
