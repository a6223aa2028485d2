package rotation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/rollover"
)

// rootPace is the least time between two looks at a change of the root that is under way:
// each gathers what every holder has shown.
const rootPace = time.Second

// Sources gives generations that are not built in.
type Sources interface {
	// Wanted is the source that the settings name; it must not wait.
	Wanted() rollover.Source
	// Generation returns what the source gives now, without a number.
	Generation(ctx context.Context, source rollover.Source) (*pki.Generation, error)
	// Brought is what the user brought when it was last whole, and what is wrong with it now;
	// nil: nothing that is wanted. It must not wait.
	Brought() (*pki.Generation, error)
}

// RootTerms say how the mesh's authority is to be.
type RootTerms struct {
	TrustDomain string
	Lifetime    time.Duration
	Policy      rollover.Policy
	// Rotate and Abandon are the requests by hand.
	Rotate, Abandon string
	// Object is mesh-root.
	Object Object
}

// root is what the engine knows of the authority's change.
type root struct {
	terms *RootTerms
	// state is what is remembered, written says whether the Store has it.
	state   rollover.State
	waiting rollover.Waiting
	busy    bool
	// The next look is at wake, or once something has changed; the last one was at looked.
	changed      bool
	wake, looked time.Time
	failures     int
	failure      string
	// failedFor is the source that was wanted then, missing the issuer that there was not.
	failedFor rollover.Source
	missing   string
	// warned is the warning that was told last, fault what is wrong with what was brought.
	warned, fault string
}

// rootJob is what a look at the root leads to.
type rootJob struct {
	before, state rollover.State
	action        *rollover.Action
	// renewed replaces the generation of its number.
	renewed *pki.Generation
}

// SetRoot says how the authority is to be. The state is what is remembered of its change by
// the Store; it counts at the first call only.
func (e *Engine) SetRoot(terms RootTerms, state rollover.State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.root.terms == nil {
		e.root.state = state
	}
	e.root.terms = &terms
	e.root.changed = true
	e.Poke()
}

// stepRoot asks rollover what to do about the root.
func (e *Engine) stepRoot(now time.Time) *rootJob {
	r := &e.root
	if r.terms == nil {
		return nil
	}
	e.tellFault()
	if r.busy || !r.due(now) || e.Source.Get() == nil {
		return nil
	}
	if r.failures > 0 && now.Before(r.wake) && e.Sources.Wanted() == r.failedFor {
		return nil
	}
	if paced := r.looked.Add(rootPace); r.state.Next != 0 && now.Before(paced) && !now.Before(r.looked) {
		r.wake = earliest(r.wake, paced)
		return nil
	}
	r.changed, r.looked = false, now
	if g := e.renewed(); g != nil {
		r.busy = true
		return &rootJob{before: r.state, state: r.state, renewed: g}
	}
	state, action, waiting := rollover.Step(r.state, e.facts(), r.terms.Policy, now)
	r.tell(e, waiting)
	r.wake = waiting.Until
	if state == r.state && action == nil {
		return nil
	}
	r.busy = true
	return &rootJob{before: r.state, state: state, action: action}
}

func (r *root) due(now time.Time) bool {
	return r.changed || !r.wake.IsZero() && !now.Before(r.wake)
}

// tell notes what is waited for, and tells of a new warning.
func (r *root) tell(e *Engine, waiting rollover.Waiting) {
	if waiting.Warning != "" && waiting.Warning != r.warned {
		e.Log.Warn("The root is in danger", "why", waiting.Warning)
		e.notifyObject(r.terms.Object, true, "RootAtRisk", waiting.Warning)
	}
	changed := waiting.Message != r.waiting.Message || !slices.Equal(waiting.For, r.waiting.For) || waiting.Warning != r.warned
	r.warned, r.waiting = waiting.Warning, waiting
	if changed {
		e.changedFor(r.terms.Object)
	}
}

// performRoot writes the state, then carries the action out: killed in between, the next
// leader goes on from there.
func (e *Engine) performRoot(ctx context.Context, j rootJob) error {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	if j.state != j.before {
		if err := e.Store.WriteRoot(ctx, j.state); err != nil {
			return fmt.Errorf("write the phase: %w", err)
		}
	}
	before := e.Source.Get()
	var authority *pki.Authority
	var err error
	switch {
	case j.renewed != nil:
		if authority, err = before.Replace(j.renewed); err != nil {
			return fmt.Errorf("replace what signs in generation %d: %w", j.renewed.Number, err)
		}
	case j.action != nil:
		if authority, err = e.act(ctx, before, *j.action); err != nil {
			return fmt.Errorf("%s generation %d: %w", j.action.Kind, j.action.Generation, err)
		}
	default:
		return nil
	}
	if err := e.Store.WriteAuthority(ctx, before, authority); err != nil {
		return fmt.Errorf("write the authority: %w", err)
	}
	e.Source.Set(authority)
	return nil
}

// act returns the authority as an action makes it.
func (e *Engine) act(ctx context.Context, authority *pki.Authority, action rollover.Action) (*pki.Authority, error) {
	switch action.Kind {
	case rollover.Prepare:
		g, err := e.generation(ctx, action)
		if err != nil {
			return nil, err
		}
		return authority.Add(g)
	case rollover.Trust:
		return authority.Trust(action.Generation)
	case rollover.Activate:
		return authority.Activate(action.Generation)
	default: // rollover.Drop
		return authority.Drop(action.Generation)
	}
}

func (e *Engine) generation(ctx context.Context, action rollover.Action) (*pki.Generation, error) {
	e.mu.Lock()
	terms := *e.root.terms
	e.mu.Unlock()
	if action.Source.Name == pki.SourceBuiltin {
		return pki.NewGeneration(action.Generation, terms.TrustDomain, e.Clock.Now(), terms.Lifetime)
	}
	g, err := e.Sources.Generation(ctx, action.Source)
	if err == nil {
		g.Number = action.Generation
	}
	return g, err
}

// finishRoot takes in what came of a look at the root.
func (e *Engine) finishRoot(j rootJob, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.Poke()
	r, now := &e.root, e.Clock.Now()
	r.busy, r.changed = false, true
	if err != nil {
		r.failures++
		r.wake = now.Add(backoff(Key{Kind: "root"}, r.failures))
		if err.Error() != r.failure {
			e.notifyObject(r.terms.Object, true, "RootFailed", err.Error())
		}
		if news := missingIssuer(err); news != r.missing || err.Error() != r.failure {
			r.missing = news
			e.changedFor(r.terms.Object)
		}
		r.failure, r.failedFor = err.Error(), e.Sources.Wanted()
		e.Log.Warn("Could not change the root", "attempts", r.failures, "again", r.wake, "err", err)
		return
	}
	r.failures, r.failure, r.missing = 0, "", ""
	if j.before.Phase != "" && j.state.Phase != j.before.Phase {
		text := fmt.Sprintf("the root is %s: generation %d", j.state.Phase, j.state.Generation)
		if j.state.Next != 0 {
			text += fmt.Sprintf(", to be replaced by generation %d", j.state.Next)
		}
		e.Log.Info("The root's phase changed", "phase", j.state.Phase, "generation", j.state.Generation, "next", j.state.Next)
		e.notifyObject(r.terms.Object, false, "RootPhase", text)
	}
	r.state = j.state
	e.changedFor(r.terms.Object)
	if j.renewed != nil {
		e.tellRenewed(j.renewed)
	}
	if j.action != nil {
		e.touchAll()
	}
}

// touchAll has every holder looked at again: the authority has changed.
func (e *Engine) touchAll() {
	for key := range e.holders {
		e.dirty[key] = struct{}{}
	}
	e.Poke()
}

// facts is what rollover goes by. Dependents count only while a change is under way.
func (e *Engine) facts() rollover.Facts {
	authority := e.Source.Get()
	facts := rollover.Facts{
		Wanted: e.Sources.Wanted(), Rotate: e.root.terms.Rotate, Abandon: e.root.terms.Abandon,
		Active: authority.Active, Trusted: authority.Trusted,
	}
	for _, g := range authority.Generations {
		facts.Generations = append(facts.Generations, rollover.Generation{
			Number: g.Number, Source: g.Source, Root: pki.RootID(g.Root), NotBefore: g.NotBefore(), NotAfter: g.NotAfter(), Remedy: remedy(g),
		})
	}
	if e.root.state.Next != 0 || len(authority.Generations) > 1 {
		facts.Dependents = e.dependents()
	}
	return facts
}
