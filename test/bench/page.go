package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	beginMark = "<!-- begin: written by make bench -->"
	endMark   = "<!-- end: written by make bench -->"
	module    = "fairlead.dev/fairlead/"
)

// fill puts the text between the page's marks.
func fill(page, text string) (string, error) {
	before, rest, begun := strings.Cut(page, beginMark)
	_, after, ended := strings.Cut(rest, endMark)
	if !begun || !ended {
		return "", errors.New("it has no lines " + beginMark + " and " + endMark)
	}
	return before + beginMark + "\n\n" + text + "\n" + endMark + after, nil
}

// markdown is what the page shows.
func (r results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d CPUs of %s (%s), %s, Envoy %s.\n", r.Machine.CPUs, r.Machine.CPU, r.Machine.Architecture, r.Machine.Go, r.Machine.Envoy)
	b.WriteString("\n### The demo\n\n| what | measured |\n| --- | --- |\n")
	for _, f := range r.Demo {
		fmt.Fprintf(&b, "| %s | %s |\n", cell(f.Name), cell(f.Measured))
	}
	fmt.Fprintf(&b, "\n### Benchmarks\n\nMedians of %d runs.\n\n| package | benchmark | time | memory | allocations | other |\n| --- | --- | --- | --- | --- | --- |\n", rounds)
	for _, one := range r.Benchmarks {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", strings.TrimPrefix(one.Package, module), cell(one.Name),
			duration(one.Values), bytesText(one.Values), count(one.Values, "allocs/op"), others(one.Values))
	}
	return b.String()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }

func duration(values map[string]float64) string {
	ns, is := values["ns/op"]
	if !is {
		return ""
	}
	d := time.Duration(ns)
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d >= time.Microsecond:
		return d.Round(10 * time.Nanosecond).String()
	default:
		return fmt.Sprintf("%.1fns", ns)
	}
}

func bytesText(values map[string]float64) string {
	size, is := values["B/op"]
	switch {
	case !is:
		return ""
	case size >= 1<<20:
		return fmt.Sprintf("%.1f MiB", size/(1<<20))
	case size >= 1<<10:
		return fmt.Sprintf("%.1f KiB", size/(1<<10))
	default:
		return fmt.Sprintf("%.0f B", size)
	}
}

func count(values map[string]float64, unit string) string {
	if value, is := values[unit]; is {
		return fmt.Sprintf("%.0f", value)
	}
	return ""
}

// others are what a benchmark reports of its own.
func others(values map[string]float64) string {
	var parts []string
	for _, unit := range slices.Sorted(maps.Keys(values)) {
		if unit != "ns/op" && unit != "B/op" && unit != "allocs/op" {
			parts = append(parts, fmt.Sprintf("%.4g %s", values[unit], unit))
		}
	}
	return strings.Join(parts, ", ")
}
