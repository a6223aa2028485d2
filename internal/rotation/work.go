package rotation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/renewal"
)

// The reasons of work beside those of package renewal.
const (
	// reasonNew is a first certificate, reasonDamaged one that is not whole, or not what it should be.
	reasonNew     renewal.Reason = "new"
	reasonDamaged renewal.Reason = "damaged"
	// reasonTrust is root-cert.pem alone, reasonUnwanted the end of a Secret.
	reasonTrust    renewal.Reason = "trust"
	reasonUnwanted renewal.Reason = "unwanted"
	// reasonTraffic keeps what was learnt of the traffic.
	reasonTraffic renewal.Reason = "traffic"
)

// What failed is tried again after 1 s, then after twice the time, up to 5 min; each wait is
// shortened by up to a quarter, by the holder's name, so that they do not come all at once.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

// jobTimeout bounds one job. What an issuer takes longer for is asked for again.
const jobTimeout = 2 * time.Minute

// ErrForeign is what a Store returns for a Secret that is not ours.
var ErrForeign = errors.New("a Secret of this name exists that Fairlead did not write")

// job is one thing that a worker does.
type job struct {
	key     Key
	subject *Subject
	reason  renewal.Reason
	// why is what is damaged.
	why string
	// held is what the Secret holds before.
	held   *Held
	forced string
	// serial is that of the certificate which a proxy is to replace.
	serial string
	// pending is what an issuer was asked for before.
	pending *pki.Pending
	// curves are what is to be kept of the traffic, by namespace.
	curves map[string]string
}

// result is what came of a job.
type result struct {
	held *Held
	err  error
	// pending is what an issuer has not decided on.
	pending *pki.Pending
}

// perform does a job; it is called without the lock.
func (e *Engine) perform(ctx context.Context, j job) result {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	switch {
	case j.reason == reasonTraffic:
		return result{err: e.Store.WriteTraffic(ctx, j.curves)}
	case j.reason == reasonUnwanted:
		return result{err: e.Store.Delete(ctx, j.key, j.held)}
	case j.reason == reasonTrust:
		return e.bringRoots(ctx, j)
	case j.key.Kind == Pod:
		if !e.Proxies.Renew(j.key.Namespace+"/"+j.key.Name, string(j.reason)) {
			return result{err: errors.New("its agent is not connected")}
		}
		return result{}
	}
	return e.issue(ctx, j)
}

// bringRoots brings a Secret's roots up to date.
func (e *Engine) bringRoots(ctx context.Context, j job) result {
	authority := e.Source.Get()
	version, err := e.Store.WriteRoots(ctx, j.key, j.held, authority.Bundle())
	if err != nil {
		return result{err: err}
	}
	return result{held: &Held{Version: version, Summary: pki.Summary{Trusted: pki.RootIDs(authority.Roots())}}}
}

// issue makes a key, has it signed and writes it.
func (e *Engine) issue(ctx context.Context, j job) result {
	request := pki.Request{Identity: j.subject.Identity, Lifetime: j.subject.Lifetime}
	asked, err := j.pending.Ask(j.subject.Algorithm, request)
	if err != nil {
		return result{err: err}
	}
	chain, roots, err := e.Issue(ctx, j.subject.Issuer, asked.Request, asked.CSR)
	if err != nil {
		return result{err: err, pending: asked}
	}
	bundle := e.Source.Get().Bundle()
	if j.subject.Issuer != "" {
		bundle = append(bundle, roots...)
	}
	files, err := pki.Files(asked.Key, chain, bundle)
	if err != nil {
		return result{err: err}
	}
	now := e.Clock.Now()
	summary, err := pki.CheckSecret(files, j.subject.Identity, bundle, now)
	if err != nil {
		return result{err: fmt.Errorf("issuer %s gave what cannot be used: %w", cmp.Or(e.lane(j), pki.SourceBuiltin), err)}
	}
	held := Held{Issuer: j.subject.Issuer, Summary: summary}
	if j.held != nil {
		held.Asked, held.Record = j.held.Asked, j.held.Record
	}
	held.Record = held.Record.followed(j.forced, now)
	if held.Version, err = e.Store.Write(ctx, j.subject, j.held, files, held.Record); err != nil {
		return result{err: err}
	}
	return result{held: &held}
}

// finish takes a job's result in.
func (e *Engine) finish(j job, r result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.holders[j.key]
	if h == nil {
		if r.err != nil {
			e.Log.Warn("Could not keep what was learnt of the traffic; it is tried again in an hour", "err", r.err)
		}
		return
	}
	now := e.Clock.Now()
	h.busy = false
	h.pending, h.missing = r.pending, missingIssuer(r.err)
	defer e.touch(h)
	if r.err != nil {
		e.failed(h, j, r.err, now)
		return
	}
	h.failures, h.failure, h.retryAt, h.conflict = 0, "", time.Time{}, false
	switch {
	case j.reason == reasonUnwanted:
		h.held = nil
	case j.key.Kind == Pod:
		if h.proxy != nil {
			// Its answer may have been faster than this.
			h.asked, h.askedAt, h.answered = j.serial, now, j.forced
		}
	case h.held != nil && h.held.Number > r.held.Number:
		// The watch was faster, and knows more.
	case j.reason == reasonTrust:
		if h.held != nil {
			held := *h.held
			held.Version, held.Trusted = r.held.Version, r.held.Trusted
			h.held = &held
		}
	default:
		h.held = r.held
	}
	e.count(h, j)
}

func (e *Engine) failed(h *holder, j job, err error, now time.Time) {
	if errors.Is(err, ErrForeign) {
		if !h.conflict {
			e.notify(h.subject, true, "Conflict", fmt.Sprintf("%s: %v; rename it, or give another secretName", j.key, err))
			e.told(h.subject)
		}
		// It is no Secret that is watched: whether it is gone has to be asked.
		h.conflict, h.failure, h.retryAt = true, err.Error(), now.Add(lastRetry)
		return
	}
	if err.Error() != h.failure {
		e.told(h.subject)
	}
	h.failures++
	h.failure = err.Error()
	h.retryAt = now.Add(backoff(h.key, h.failures))
	e.failures.WithLabelValues(string(j.reason)).Inc()
	e.Log.Warn("Could not "+verb(j.reason), "for", j.key, "attempts", h.failures, "again", h.retryAt, "err", err)
}

// missingIssuer names the issuer whose absence an error is about; empty: it is about another
// thing.
func missingIssuer(err error) string {
	var known *pki.IssueError
	if errors.As(err, &known) && known.Reason == pki.Missing {
		return known.Issuer
	}
	return ""
}

func verb(reason renewal.Reason) string {
	switch reason {
	case reasonTrust:
		return "bring roots up to date"
	case reasonUnwanted:
		return "delete an unwanted Secret"
	}
	return "issue a certificate"
}

func backoff(key Key, failures int) time.Duration {
	wait := lastRetry
	if failures < 10 {
		wait = min(wait, firstRetry<<(failures-1))
	}
	hash := fnv.New32a()
	_, _ = fmt.Fprint(hash, key, failures)
	return wait - time.Duration(float64(wait)/4*float64(hash.Sum32())/(1<<32))
}
