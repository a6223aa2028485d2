package metrics

import (
	"bufio"
	"bytes"
	"errors"
	"hash/maphash"
	"io"
	"strconv"
)

// longestLine bounds what is held of a target's answer.
const longestLine = 64 << 10

// ownPrefix begins the names that no other target may use.
const ownPrefix = "fairlead_agent_"

// kind is a family's type.
type kind uint8

const (
	untyped kind = iota
	counterKind
	gaugeKind
	histogramKind
	summaryKind
)

var kindNames = [...]string{"untyped", "counter", "gauge", "histogram", "summary"}

// kindOf reads a type. Those of OpenMetrics become the nearest that the text format
// has; the histogram of a gauge has none, and its parts go on as values.
func kindOf(text []byte) (kind, bool) {
	switch string(bytes.ToLower(bytes.TrimSpace(text))) {
	case "untyped", "unknown", "gaugehistogram":
		return untyped, true
	case "counter":
		return counterKind, true
	case "gauge", "info", "stateset":
		return gaugeKind, true
	case "histogram":
		return histogramKind, true
	case "summary":
		return summaryKind, true
	default:
		return 0, false
	}
}

// merger writes the answers of targets as one answer.
//
// A parser takes only one description of a family: the first one. A later target that
// has a family of that name, too, adds its samples if it calls the type the same, or the
// first one called it nothing; if not, its samples are left out.
type merger struct {
	out *bufio.Writer
	// Of the names only hashes are kept: of a large mesh Envoy has many.
	seed     maphash.Seed
	families map[uint64]family
}

// family is what is known of a name in this scrape.
type family struct {
	kind kind
	// described: the type is settled, by a line or by a sample without one.
	described, helped bool
	// targets has a bit for each target whose samples are let through.
	targets uint8
}

func newMerger(out *bufio.Writer) *merger {
	return &merger{out: out, seed: maphash.MakeSeed(), families: map[uint64]family{}}
}

// answer is the state of reading one target.
type answer struct {
	*merger
	target      uint8
	openMetrics bool
	// conflicts: a family was left out.
	conflicts bool

	// What was decided for the last name, which is most often the next one, too.
	last     []byte
	lastKind kind
	lastPass bool
}

// read hands on the lines of a target until they end or cannot be read. An error of
// the merger's own writer is in out.
func (a *answer) read(in *bufio.Reader) error {
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return errMalformed
		case err != nil && err != io.EOF:
			// Half a line may be half a number.
			return err
		}
		if problem := a.line(bytes.Trim(line, " \t\r\n")); problem != nil {
			return problem
		}
		if err == io.EOF {
			return nil
		}
	}
}

func (a *answer) line(line []byte) error {
	if len(line) == 0 {
		return nil
	}
	if line[0] != '#' {
		return a.sample(line)
	}
	keyword, name, text := parseComment(line)
	if keyword == "" || bytes.HasPrefix(name, []byte(ownPrefix)) {
		// Among the other comments is OpenMetrics' "# EOF", after which nothing may come.
		return nil
	}
	a.last = a.last[:0]
	if keyword == "HELP" {
		a.help(name, text)
		return nil
	}
	k, ok := kindOf(text)
	if !ok {
		return errMalformed
	}
	a.kind(name, k)
	return nil
}

func (a *answer) help(name, text []byte) {
	key, f, found, whole := a.find(name)
	if found && (!whole || f.helped || f.described && f.targets&a.target == 0) || !validHelp(text) {
		return
	}
	f.helped = true
	f.targets |= a.target
	a.families[key] = f
	a.write("# HELP ", name, " ", text)
}

func (a *answer) kind(name []byte, k kind) {
	key, f, found, whole := a.find(name)
	switch {
	case found && !whole:
		// The count of a histogram, say, which had been described by that.
		a.conflicts = a.conflicts || f.targets&a.target == 0
		return
	case found && f.described:
		if f.kind == k {
			f.targets |= a.target
			a.families[key] = f
		}
		return
	}
	f.kind, f.described = k, true
	f.targets |= a.target
	a.families[key] = f
	a.write("# TYPE ", name, " ", []byte(kindNames[k]))
}

func (a *answer) sample(line []byte) error {
	s, err := parseSample(line)
	if err != nil {
		return err
	}
	timestamp, timed, err := s.timestamp(a.openMetrics)
	if err != nil {
		return err
	}
	if !bytes.Equal(s.name, a.last) {
		a.last = append(a.last[:0], s.name...)
		a.lastKind, a.lastPass = a.belongs(s.name)
	}
	if !s.fits(a.lastKind) {
		return errMalformed
	}
	if !a.lastPass {
		a.conflicts = true
		return nil
	}
	_, _ = a.out.Write(line[:s.end])
	if timed {
		_ = a.out.WriteByte(' ')
		_, _ = a.out.Write(strconv.AppendInt(a.out.AvailableBuffer(), timestamp, 10))
	}
	_ = a.out.WriteByte('\n')
	return nil
}

// fits tells whether a parser takes the sample as one of such a family: bounds are
// numbers, and nothing is counted below zero.
func (s *sample) fits(k kind) bool {
	switch k {
	case summaryKind:
		return !s.quantile.present || s.quantile.isNumber
	case histogramKind:
		return (!s.le.present || s.le.isNumber) && (s.value >= 0 || s.value != s.value || bytes.HasSuffix(s.name, []byte("_sum")))
	default:
		return true
	}
}

// belongs finds the family of a sample, and whether this target may add to it.
func (a *answer) belongs(name []byte) (kind, bool) {
	if bytes.HasPrefix(name, []byte(ownPrefix)) {
		return untyped, false
	}
	key, f, found, _ := a.find(name)
	if !found || !f.described || f.kind == untyped {
		f.described = true
		f.targets |= a.target
		a.families[key] = f
	}
	return f.kind, f.targets&a.target != 0
}

// find looks a name up as parsers do: as a family of its own, else as a part of a
// summary or a histogram, of which it is then not the whole.
func (a *answer) find(name []byte) (key uint64, f family, found, whole bool) {
	key = maphash.Bytes(a.seed, name)
	if f, found = a.families[key]; found {
		return key, f, true, true
	}
	for _, suffix := range []string{"_count", "_sum", "_bucket"} {
		base, ok := bytes.CutSuffix(name, []byte(suffix))
		if !ok || len(base) == 0 {
			continue
		}
		baseKey := maphash.Bytes(a.seed, base)
		f, found = a.families[baseKey]
		if found && (f.kind == histogramKind || f.kind == summaryKind && suffix != "_bucket") {
			return baseKey, f, true, false
		}
	}
	return key, family{}, false, true
}

// write writes a line. That the writer fails shows at its end.
func (a *answer) write(before string, name []byte, between string, text []byte) {
	_, _ = a.out.WriteString(before)
	_, _ = a.out.Write(name)
	_, _ = a.out.WriteString(between)
	_, _ = a.out.Write(text)
	_ = a.out.WriteByte('\n')
}
