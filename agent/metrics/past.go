package metrics

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
)

// past is what predecessors have counted. It does not change once it is made.
type past struct {
	families map[string]*pastFamily
}

// pastFamily is a counter or a histogram.
type pastFamily struct {
	kind kind
	// at is where a series is in the list, by its text.
	at     map[string]int32
	series []pastSeries
}

// pastSeries is a sample whose text is what follows the family's name: a suffix, labels.
type pastSeries struct {
	text  string
	value float64
}

func (p *past) family(name []byte, k kind) *pastFamily {
	if p == nil {
		return nil
	}
	// Of another kind it is another family, which Envoy of another version may have.
	if f := p.families[string(name)]; f != nil && f.kind == k {
		return f
	}
	return nil
}

// find returns where a series is, or -1.
func (f *pastFamily) find(text []byte) int32 {
	if f != nil {
		if i, ok := f.at[string(text)]; ok {
			return i
		}
	}
	return -1
}

func (f *pastFamily) add(text string, value float64) {
	f.at[text] = int32(len(f.series))
	f.series = append(f.series, pastSeries{text, value})
}

// readPast adds up an answer and what was before it.
func readPast(in io.Reader, before *past) (*past, error) {
	p := &past{families: map[string]*pastFamily{}}
	lines := newSeriesReader(in)
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if text, s, ok := lines.counted(line); ok {
			p.count(lines.family, lines.kind, text, s.value, before)
		}
	}
	if before != nil {
		p.addMissing(before)
	}
	return p, nil
}

// count adds a sample and what was before it.
func (p *past) count(name []byte, k kind, text []byte, value float64, before *past) {
	old := before.family(name, k)
	i := old.find(text)
	if i < 0 && value == 0 && k == counterKind {
		// Most of a mesh is never called. A histogram needs all its parts.
		return
	}
	f := p.family(name, k)
	if f == nil {
		f = &pastFamily{kind: k, at: map[string]int32{}}
		p.families[string(name)] = f
	}
	switch {
	case f.find(text) >= 0:
	case i >= 0:
		f.add(old.series[i].text, value+old.series[i].value)
	default:
		f.add(string(text), value)
	}
}

// addMissing takes over what is in the other one only.
func (p *past) addMissing(before *past) {
	for _, name := range slices.Sorted(maps.Keys(before.families)) {
		old, f := before.families[name], p.families[name]
		if f == nil {
			p.families[name] = old
			continue
		}
		if f.kind != old.kind {
			continue
		}
		for _, s := range old.series {
			if _, there := f.at[s.text]; !there {
				f.add(s.text, s.value)
			}
		}
	}
}

// seriesReader reads an answer line by line and knows which family each belongs to. It
// judges nothing: the merger does.
type seriesReader struct {
	in     *bufio.Reader
	family []byte
	kind   kind
}

func newSeriesReader(in io.Reader) *seriesReader {
	return &seriesReader{in: bufio.NewReaderSize(in, longestLine)}
}

// next returns a line, without its end. A line that breaks off is none.
func (r *seriesReader) next() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errMalformed
	case err == io.EOF && len(line) > 0:
	case err != nil:
		return nil, err
	}
	return bytes.Trim(line, " \t\r\n"), nil
}

// begins tells whether the line begins a family, whose name and kind are then set.
func (r *seriesReader) begins(line []byte) bool {
	if len(line) == 0 || line[0] != '#' {
		return false
	}
	keyword, name, text := parseComment(line)
	if keyword != "TYPE" {
		return false
	}
	k, ok := kindOf(text)
	if !ok {
		k = untyped
	}
	r.family, r.kind = append(r.family[:0], name...), k
	return true
}

// counted returns a sample that goes on over restarts, and its text within the family.
func (r *seriesReader) counted(line []byte) (text []byte, s sample, ok bool) {
	if r.begins(line) || len(line) == 0 || line[0] == '#' || r.kind != counterKind && r.kind != histogramKind {
		return nil, s, false
	}
	s, err := parseSample(line)
	if err != nil || math.IsNaN(s.value) || math.IsInf(s.value, 0) {
		return nil, s, false
	}
	suffix, of := bytes.CutPrefix(s.name, r.family)
	if !of || !partOf(r.kind, string(suffix)) {
		return nil, s, false
	}
	return bytes.TrimRight(line[len(r.family):s.start], " \t"), s, true
}

func partOf(k kind, suffix string) bool {
	if k == counterKind {
		return suffix == ""
	}
	return suffix == "_bucket" || suffix == "_sum" || suffix == "_count"
}

// continued is an answer of Envoy's with the past added to it.
type continued struct {
	body  io.ReadCloser
	lines *seriesReader
	base  *past
	// family is the current one in the past, if it is there, seen which of its series
	// Envoy has had, and met all families that it has had.
	family *pastFamily
	seen   []bool
	met    map[string]bool

	buffer, ready []byte
	err           error
}

func newContinued(body io.ReadCloser, base *past) *continued {
	return &continued{body: body, lines: newSeriesReader(body), base: base, met: map[string]bool{}}
}

func (c *continued) Close() error { return c.body.Close() }

func (c *continued) Read(p []byte) (int, error) {
	for len(c.ready) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.buffer = c.buffer[:0]
		c.more()
		c.ready = c.buffer
	}
	n := copy(p, c.ready)
	c.ready = c.ready[n:]
	return n, nil
}

// more writes the next line.
func (c *continued) more() {
	line, err := c.lines.next()
	if err != nil {
		c.err = err
		if errors.Is(err, io.EOF) {
			c.endFamily()
			c.endAnswer()
		}
		return
	}
	if len(line) > 0 && line[0] == '#' {
		c.comment(line)
		return
	}
	text, s, ok := c.lines.counted(line)
	i := c.family.find(text)
	if !ok || i < 0 {
		c.buffer = append(append(c.buffer, line...), '\n')
		return
	}
	c.seen[i] = true
	c.buffer = append(c.buffer, line[:s.start]...)
	c.buffer = appendValue(c.buffer, s.value+c.family.series[i].value)
	c.buffer = append(append(c.buffer, line[s.end:]...), '\n')
}

func (c *continued) comment(line []byte) {
	if keyword, name, _ := parseComment(line); keyword != "" && !bytes.Equal(name, c.lines.family) {
		c.endFamily()
	}
	if c.lines.begins(line) {
		c.met[string(c.lines.family)] = true
		c.family = c.base.family(c.lines.family, c.lines.kind)
		if c.family != nil {
			c.seen = append(c.seen[:0], make([]bool, len(c.family.series))...)
		}
	}
	c.buffer = append(append(c.buffer, line...), '\n')
}

// endFamily writes what Envoy has not had of the current one: a counter must not vanish.
func (c *continued) endFamily() {
	if c.family == nil {
		return
	}
	for i, s := range c.family.series {
		if !c.seen[i] {
			c.series(string(c.lines.family), s)
		}
	}
	c.family = nil
}

// endAnswer writes the families that Envoy has not had.
func (c *continued) endAnswer() {
	for _, name := range slices.Sorted(maps.Keys(c.base.families)) {
		f := c.base.families[name]
		if c.met[name] {
			continue
		}
		c.buffer = append(c.buffer, "# TYPE "+name+" "+kindNames[f.kind]+"\n"...)
		for _, s := range f.series {
			c.series(name, s)
		}
	}
}

func (c *continued) series(name string, s pastSeries) {
	c.buffer = append(append(c.buffer, name...), s.text...)
	c.buffer = append(appendValue(append(c.buffer, ' '), s.value), '\n')
}

// appendValue writes whole numbers as Envoy does, without an exponent.
func appendValue(to []byte, value float64) []byte {
	return strconv.AppendFloat(to, value, 'f', -1, 64)
}
