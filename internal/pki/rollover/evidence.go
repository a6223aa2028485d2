package rollover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// evidence is what dependents have shown of one thing.
type evidence struct {
	missing []Missing
	// contradicted: somebody is known to be otherwise, rather than only not known.
	contradicted bool
	// until is when the first report that counts now becomes too old.
	until time.Time
}

func (e evidence) complete() bool { return len(e.missing) == 0 }

// gather asks every dependent for one thing; otherwise says in words what it has instead, and
// is empty if that is as it should be.
func gather(dependents []Dependent, silence time.Duration, now time.Time, otherwise func(Dependent) string) evidence {
	var e evidence
	for _, d := range dependents {
		reason, silent := otherwise(d), d.Heard.Add(silence)
		switch {
		case d.Stored && reason == "":
			continue
		case !d.Stored && d.Heard.IsZero():
			reason = "has a proxy that has not reported yet"
		case !d.Stored && !silent.After(now):
			reason = "silent since " + d.Heard.UTC().Format(time.RFC3339)
		case d.Serves == "":
			reason = "has no certificate yet"
		case reason != "":
			e.contradicted = true
		case !d.Proven:
			reason = "has not proven yet that its proxy serves what it was given"
		default:
			if e.until.IsZero() || silent.Before(e.until) {
				e.until = silent
			}
			continue
		}
		e.missing = append(e.missing, Missing{Name: d.Name, Reason: reason})
	}
	slices.SortFunc(e.missing, byName)
	return e
}

func byName(a, b Missing) int { return strings.Compare(a.Name, b.Name) }

// trusting gathers who trusts a generation.
func (f Facts) trusting(g Generation, silence time.Duration, now time.Time) evidence {
	reason := fmt.Sprintf("does not trust generation %d yet", g.Number)
	return gather(f.Dependents, silence, now, func(d Dependent) string {
		if slices.Contains(d.Trusts, g.Root) {
			return ""
		}
		return reason
	})
}

// serving gathers who has a certificate of a generation.
func (f Facts) serving(g Generation, silence time.Duration, now time.Time) evidence {
	return gather(f.Dependents, silence, now, func(d Dependent) string {
		if d.Serves == g.Root {
			return ""
		}
		for _, other := range f.Generations {
			if other.Root == d.Serves {
				return fmt.Sprintf("still has a certificate of generation %d", other.Number)
			}
		}
		return "has a certificate of an unknown root"
	})
}

// raw lists who may still have raw TCP connections from before its present certificate.
func (f Facts) raw() []Missing {
	var open []Missing
	for _, d := range f.Dependents {
		if !d.Stored && !d.RawQuiet {
			open = append(open, Missing{Name: d.Name, Reason: "has raw TCP connections that may be older than its certificate"})
		}
	}
	slices.SortFunc(open, byName)
	return open
}
