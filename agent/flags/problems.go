package flags

import "fmt"

// Problem is what is wrong with one flag.
type Problem struct {
	Flag string
	Err  error
}

func (p *Problem) Error() string { return "--" + p.Flag + " " + p.Err.Error() }

// Unwrap is for errors.Is.
func (p *Problem) Unwrap() error { return p.Err }

// Problems are what is wrong with the flags, gathered so that all are told at once.
type Problems []error

// Add records what is wrong with a flag.
func (p *Problems) Add(flag, format string, args ...any) {
	*p = append(*p, &Problem{flag, fmt.Errorf(format, args...)})
}

// AddAll records several errors of one flag.
func (p *Problems) AddAll(flag string, errs []error) {
	for _, err := range errs {
		p.Add(flag, "%w", err)
	}
}
