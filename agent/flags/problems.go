package flags

import "fmt"

// Problems are what is wrong with the flags, gathered so that all are told at once.
type Problems []error

// Add records what is wrong with a flag.
func (p *Problems) Add(flag, format string, args ...any) {
	*p = append(*p, fmt.Errorf("--"+flag+" "+format, args...))
}

// AddAll records several errors of one flag.
func (p *Problems) AddAll(flag string, errs []error) {
	for _, err := range errs {
		p.Add(flag, "%w", err)
	}
}
