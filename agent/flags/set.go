// Package flags reads the flags of a command of the agent: from its arguments, from an
// environment variable for each, and from a file. What comes first in this order holds,
// and everything that is wrong is told at once. It does not know what any flag means.
package flags

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Set holds the flags of one command, in groups.
type Set struct {
	Command string
	// EnvOf names the environment variable of a flag.
	EnvOf map[string]string

	groups []group
	all    *pflag.FlagSet
	// given are the flags that arguments or environment have set.
	given map[string]bool
	// from is the file and line that gave a flag.
	from map[string]string
}

// configFlag names a file of flags, in a set that has it.
const configFlag = "config"

type group struct {
	title string
	flags *pflag.FlagSet
}

// New returns a set without flags.
func New(command string) Set {
	s := Set{
		Command: command, all: pflag.NewFlagSet(command, pflag.ContinueOnError),
		EnvOf: map[string]string{}, given: map[string]bool{}, from: map[string]string{},
	}
	s.all.SortFlags = false
	s.all.SetInterspersed(false)
	// Their errors and help are printed by the command.
	s.all.Usage = func() {}
	return s
}

// Group registers flags and gives each an environment variable: those of Kubernetes'
// downward API, as everybody names them, else the flag's name with a prefix.
func (s *Set) Group(title string, register func(*pflag.FlagSet)) {
	s.AddWithoutEnv(title, func(f *pflag.FlagSet) {
		register(f)
		f.VisitAll(func(f *pflag.Flag) {
			upper := strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
			switch f.Name {
			case "pod-name", "pod-namespace", "service-account":
				s.EnvOf[f.Name] = upper
			case "envoy":
				s.EnvOf[f.Name] = "ENVOY_BIN"
			default:
				s.EnvOf[f.Name] = "FAIRLEAD_" + upper
			}
			f.Usage += " [$" + s.EnvOf[f.Name] + "]"
		})
	})
}

// AddWithoutEnv registers flags that are not to be set by the environment.
func (s *Set) AddWithoutEnv(title string, register func(*pflag.FlagSet)) {
	flags := pflag.NewFlagSet(title, pflag.ContinueOnError)
	flags.SortFlags = false
	register(flags)
	s.groups = append(s.groups, group{title, flags})
	s.all.AddFlagSet(flags)
}

// Usages lists the flags of every group.
func (s *Set) Usages() string {
	var b strings.Builder
	for _, group := range s.groups {
		b.WriteString("\n" + group.title + ":\n" + group.flags.FlagUsagesWrapped(100))
	}
	b.WriteString("\nA flag that is not given is taken from the environment variable in brackets.\n")
	return b.String()
}

// Read sets the flags from arguments and environment. It returns every value that is
// refused, or the one error that makes the rest unreadable.
func (s *Set) Read(args []string, lookupEnv func(string) (string, bool)) (refused []error, err error) {
	// An unknown flag ends the reading at once: what follows it may be its value.
	err = s.all.ParseAll(args, func(f *pflag.Flag, value string) error {
		s.given[f.Name] = true
		if err := s.all.Set(f.Name, value); err != nil {
			refused = append(refused, err)
			restoreDefault(f)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if rest := s.all.Args(); len(rest) > 0 {
		return nil, fmt.Errorf("unexpected argument %q: everything is given by flags", rest[0])
	}
	s.all.VisitAll(func(f *pflag.Flag) {
		name := s.EnvOf[f.Name]
		if name == "" || s.given[f.Name] {
			return
		}
		if value, ok := lookupEnv(name); ok && value != "" {
			s.given[f.Name] = true
			if err := f.Value.Set(value); err != nil {
				refused = append(refused, fmt.Errorf("environment variable %s (--%s) is %q: %w", name, f.Name, value, err))
				restoreDefault(f)
			}
		}
	})
	return refused, nil
}

// Values are the flags' texts as they are now, by name.
func (s *Set) Values() map[string]string {
	values := map[string]string{}
	s.all.VisitAll(func(f *pflag.Flag) { values[f.Name] = f.Value.String() })
	return values
}

// Put sets a flag to a text that Values returned before.
func (s *Set) Put(name, value string) error { return s.all.Lookup(name).Value.Set(value) }

// restoreDefault undoes what a refused text did to a number, so that it is not
// complained of a second time.
func restoreDefault(f *pflag.Flag) { _ = f.Value.Set(f.DefValue) }
