package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// benchmark is one benchmark's medians by unit.
type benchmark struct {
	Package string             `json:"package"`
	Name    string             `json:"name"`
	Values  map[string]float64 `json:"values"`
}

// cpuSuffix is GOMAXPROCS, which `go test` adds to a name when it is not 1.
var cpuSuffix = regexp.MustCompile(`-\d+$`)

// parse reads what `go test -bench` prints. Its form is a promise:
// golang.org/design/14313-benchmark-format.
func parse(r io.Reader) ([]benchmark, error) {
	type key struct{ pkg, name string }
	var order []key
	measured := map[key]map[string][]float64{}
	pkg := ""
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if name, is := strings.CutPrefix(lines.Text(), "pkg: "); is {
			pkg = name
			continue
		}
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || len(fields)%2 != 0 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		k := key{pkg, strings.TrimPrefix(cpuSuffix.ReplaceAllString(fields[0], ""), "Benchmark")}
		if measured[k] == nil {
			measured[k] = map[string][]float64{}
			order = append(order, k)
		}
		for i := 2; i < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", fields[0], err)
			}
			measured[k][fields[i+1]] = append(measured[k][fields[i+1]], value)
		}
	}
	var list []benchmark
	for _, k := range order {
		b := benchmark{Package: k.pkg, Name: k.name, Values: map[string]float64{}}
		for unit, values := range measured[k] {
			slices.Sort(values)
			b.Values[unit] = values[len(values)/2]
		}
		list = append(list, b)
	}
	return list, lines.Err()
}
