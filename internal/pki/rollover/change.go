package rollover

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// longNotice is early enough to bring a root: what was brought may be valid for decades, and of its
// end nobody has to hear for years.
const longNotice = 180 * 24 * time.Hour

// enter begins a phase, or goes on with it. Times are kept as a status keeps them.
func (c *change) enter(phase Phase) {
	if c.Phase != phase {
		c.Phase, c.Since = phase, c.now.UTC().Truncate(time.Second)
	}
}

// await notes who is waited for.
func (c *change) await(shown evidence, text string) {
	c.waiting.For, c.waiting.Message = shown.missing, text
	c.again(shown.until)
}

// again notes when to look again; times that are past are no reason to.
func (c *change) again(at time.Time) {
	if at.After(c.now) && (c.waiting.Until.IsZero() || at.Before(c.waiting.Until)) {
		c.waiting.Until = at
	}
}

// held reports whether an action is not to be taken now because changes are paused, and warns
// of a generation whose end comes near.
func (c *change) held(action *Action) bool {
	active, _ := c.generation(c.Active)
	late, call := !c.now.Before(active.NotAfter.Add(-min(c.before(active)/2, c.notice(active)))), c.lastCall(active)
	paused := c.Paused && action != nil && c.now.Before(call)
	if paused {
		c.waiting.Message = "the change of the root is paused"
		c.again(call)
	}
	if late && c.Next != c.Active && c.waiting.Warning == "" && (action == nil || paused) {
		c.waiting.Warning = fmt.Sprintf("generation %d, which signs, ends at %s, and nothing replaces it yet: %s",
			c.Active, active.NotAfter.UTC().Format(time.RFC3339), strings.TrimSuffix(c.waiting.Message+"; "+names(c.waiting.For), "; "))
	}
	return paused
}

func (c *change) generation(number int) (Generation, bool) {
	for _, g := range c.Generations {
		if g.Number == number {
			return g, true
		}
	}
	return Generation{}, false
}

func (c *change) trusts(g Generation) bool { return slices.Contains(c.Trusted, g.Number) }

// matches reports whether a generation is of the source that is wanted.
func (c *change) matches(g Generation) bool {
	return g.Source == c.Wanted.Name && (c.Wanted.Root == "" || g.Root == c.Wanted.Root)
}

// holds reports whether the source that was abandoned is the one that is wanted. What root an
// issuer gives is not known after a restart.
func (c *change) holds() bool {
	of := c.Hold.For
	return of == c.Wanted || of.Name == c.Wanted.Name && (of.Root == "" || c.Wanted.Root == "")
}

// sourceUsed returns the generation that has the root that the wanted source gives.
func (c *change) sourceUsed() (Generation, bool) {
	for _, g := range c.Generations {
		if c.Wanted.Root != "" && g.Root == c.Wanted.Root {
			return g, true
		}
	}
	return Generation{}, false
}

// before is how long before the end of a generation the next is prepared.
func (c *change) before(g Generation) time.Duration {
	if c.Before > 0 {
		return c.Before
	}
	return g.NotAfter.Sub(g.NotBefore) / 3
}

// notice is how long before the end of a generation people are told that it is up to them.
func (c *change) notice(g Generation) time.Duration {
	return min(c.before(g), max(c.Before, longNotice))
}

// same warns that the source gives the root of a generation still, which has to be replaced.
func (c *change) same(g Generation, due bool) {
	by, remedy := "", "bring a new one"
	if due {
		if notice := g.NotAfter.Add(-c.notice(g)); c.now.Before(notice) {
			c.again(notice)
			return
		}
		by, remedy = ", since it ends at "+g.NotAfter.UTC().Format(time.RFC3339), cmp.Or(g.Remedy, remedy)
	}
	c.waiting.Warning = fmt.Sprintf("the root has to be replaced%s, but %s still gives the root of generation %d: %s",
		by, c.Wanted.Name, g.Number, remedy)
}

// lastCall is from when on the active generation is replaced without complete evidence.
func (c *change) lastCall(active Generation) time.Time {
	return active.NotAfter.Add(-c.before(active) / 8)
}

// names lists the first few who are waited for.
func names(missing []Missing) string {
	const most = 5
	var words []string
	for _, m := range missing[:min(most, len(missing))] {
		words = append(words, m.Name+" "+m.Reason)
	}
	if len(missing) > most {
		words = append(words, fmt.Sprintf("and %d more", len(missing)-most))
	}
	return strings.Join(words, ", ")
}
