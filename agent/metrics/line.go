package metrics

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
)

// errMalformed is all that is told of a line: which one it was does not help whoever
// reads a counter, and its text may be a secret that was never meant for a scraper.
var errMalformed = errors.New("not Prometheus' text format")

// sample is a line with a value. Its parts are slices of the line.
type sample struct {
	name []byte
	// le and quantile are the labels of these names.
	le, quantile bound
	value        float64
	// start is where the value begins, and end where it ends; what follows is a timestamp
	// or an exemplar.
	start, end int
	rest       []byte
}

// bound is the value of a label that has to be a number in some families.
type bound struct{ present, isNumber bool }

// parseSample reads name{label="value",...} value [timestamp], whose grammar is
// https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details.
func parseSample(line []byte) (sample, error) {
	var s sample
	n := nameLength(line, true)
	if n == 0 || !utf8.Valid(line) {
		return s, errMalformed
	}
	s.name = line[:n]
	at := skipBlank(line, n)
	if at < len(line) && line[at] == '{' {
		var err error
		if at, err = s.parseLabels(line, at+1); err != nil {
			return s, err
		}
		at = skipBlank(line, at)
	} else if at == n {
		return s, errMalformed
	}
	s.start, s.end = at, at+tokenLength(line[at:])
	var ok bool
	if s.value, ok = number(line[at:s.end]); !ok {
		return s, errMalformed
	}
	s.rest = line[skipBlank(line, s.end):]
	return s, nil
}

// parseLabels begins after the opening brace and returns where the closing one ends.
func (s *sample) parseLabels(line []byte, at int) (int, error) {
	// Few lines have more labels than this, and the array stays on the stack.
	var array [16][]byte
	names := array[:0]
	for {
		at = skipBlank(line, at)
		if at < len(line) && line[at] == '}' {
			return at + 1, nil
		}
		n := nameLength(line[at:], false)
		name := line[at : at+n]
		at = skipBlank(line, at+n)
		if n == 0 || string(name) == "__name__" || at == len(line) || line[at] != '=' {
			return 0, errMalformed
		}
		for _, other := range names {
			if bytes.Equal(other, name) {
				return 0, errMalformed
			}
		}
		names = append(names, name)
		at = skipBlank(line, at+1)
		length, ok := quotedLength(line[at:])
		if !ok {
			return 0, errMalformed
		}
		_, isNumber := number(line[at+1 : at+length-1])
		switch string(name) {
		case "le":
			s.le = bound{true, isNumber}
		case "quantile":
			s.quantile = bound{true, isNumber}
		}
		at = skipBlank(line, at+length)
		if at == len(line) || line[at] != ',' && line[at] != '}' {
			return 0, errMalformed
		}
		if line[at] == ',' {
			at++
		}
	}
}

// timestamp returns the milliseconds that follow the value. What begins with '#' is an
// exemplar of OpenMetrics, for which the text format has no place.
func (s *sample) timestamp(openMetrics bool) (milliseconds int64, present bool, err error) {
	text := s.rest[:tokenLength(s.rest)]
	if len(text) == 0 || text[0] == '#' {
		return 0, false, nil
	}
	if after := s.rest[skipBlank(s.rest, len(text)):]; len(after) > 0 && after[0] != '#' {
		return 0, false, errMalformed
	}
	if !openMetrics {
		milliseconds, err = strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return 0, false, errMalformed
		}
		return milliseconds, true, nil
	}
	// OpenMetrics counts seconds: https://prometheus.io/docs/specs/om/open_metrics_spec/#timestamps
	seconds, ok := number(text)
	if !ok || math.IsNaN(seconds) || math.Abs(seconds) > math.MaxInt64/2e3 {
		return 0, false, errMalformed
	}
	return int64(math.Round(seconds * 1e3)), true, nil
}

// parseComment reads "# TYPE name text" and "# HELP name text". The keyword of any
// other comment is empty.
func parseComment(line []byte) (keyword string, name, text []byte) {
	at := skipBlank(line, 1)
	end := at + tokenLength(line[at:])
	switch string(line[at:end]) {
	case "TYPE":
		keyword = "TYPE"
	case "HELP":
		keyword = "HELP"
	default:
		return "", nil, nil
	}
	at = skipBlank(line, end)
	end = at + nameLength(line[at:], true)
	text = line[skipBlank(line, end):]
	if at == end || end < len(line) && !blank(line[end]) {
		return "", nil, nil
	}
	return keyword, line[at:end], text
}

// validHelp tells whether a parser takes the text as it is.
func validHelp(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		if i == len(text) || text[i] != '\\' && text[i] != 'n' && text[i] != '"' {
			return false
		}
	}
	return len(text) > 0 && utf8.Valid(text)
}

// nameLength is how much of the text is a name. Only a metric's may have colons.
func nameLength(text []byte, colons bool) int {
	for i, c := range text {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c == ':' && colons, c >= '0' && c <= '9' && i > 0:
		default:
			return i
		}
	}
	return len(text)
}

// quotedLength is the length of a label's value with its quotes.
func quotedLength(text []byte) (int, bool) {
	if len(text) == 0 || text[0] != '"' {
		return 0, false
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return i + 1, true
		case '\\':
			i++
			if i == len(text) || text[i] != '\\' && text[i] != 'n' && text[i] != '"' {
				return 0, false
			}
		}
	}
	return 0, false
}

// number reads a value as Go writes it, which is what the format asks for, without the
// hexadecimal and underscores that Go reads as well.
func number(text []byte) (float64, bool) {
	if bytes.ContainsAny(text, "pP_xX") {
		return 0, false
	}
	value, err := strconv.ParseFloat(string(text), 64)
	return value, err == nil
}

func tokenLength(text []byte) int {
	for i, c := range text {
		if blank(c) {
			return i
		}
	}
	return len(text)
}

func skipBlank(text []byte, at int) int {
	for at < len(text) && blank(text[at]) {
		at++
	}
	return at
}

func blank(c byte) bool { return c == ' ' || c == '\t' }
