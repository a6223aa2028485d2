package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Statistics are Envoy's over its hot restarts, as if it had been one process.
//
// Envoy itself gives a successor only what its predecessor has counted since it was last
// asked for statistics, and nothing of histograms: by itself every counter would begin
// anew with each restart, which a scraper takes for a crash. So whatever the predecessor
// last said is remembered, and added to what the successor says.
// https://www.envoyproxy.io/docs/envoy/latest/operations/stats_overview#hot-restart
//
// What is not counted: a few requests between Envoy's last answer and its own note of
// what it has answered, and what the predecessor's histograms observe once its successor
// has been started.
type Statistics struct {
	proxy Target
	// turn is filled while somebody asks Envoy, or nobody may: an answer that comes
	// between the snapshot and the successor would have counts that nobody adds up.
	turn chan struct{}
	// held: the turn is the snapshot's. Only for the methods of the supervisor.
	held bool

	mu sync.Mutex
	// base is added to Envoy's answers. taken is what is to become the base: it stays
	// after an attempt that failed, as long as Envoy has not answered since. By then it
	// has lost its administration interface, and the next attempt has no other.
	base, taken *past
}

// NewStatistics keeps those of an Envoy whose answers have its own counts only.
func NewStatistics(proxy Target) *Statistics {
	return &Statistics{proxy: proxy, turn: make(chan struct{}, 1)}
}

// Target is Envoy with what its predecessors have counted. It waits while a hot restart
// is under way.
func (s *Statistics) Target() Target { return Target{Name: s.proxy.Name, Open: s.open} }

func (s *Statistics) open(ctx context.Context) (io.ReadCloser, string, error) {
	if err := s.wait(ctx); err != nil {
		return nil, "", err
	}
	// Envoy has put its answer together when it begins: it may be read at leisure.
	defer func() { <-s.turn }()
	body, contentType, base, err := s.ask(ctx)
	if err != nil || base == nil {
		return body, contentType, err
	}
	return newContinued(body, base), contentType, nil
}

// Ask puts a question to Envoy that makes it tell statistics, when that is allowed. The
// answers have the serving Envoy's counts only.
func (s *Statistics) Ask(ctx context.Context, question func(context.Context) error) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	defer func() { <-s.turn }()
	err := question(ctx)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.taken = nil
	}
	return err
}

// wait takes the turn.
func (s *Statistics) wait(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("envoy may not be asked yet: %w", context.Cause(ctx))
	}
}

// ask is for whoever has the turn. The base is the one for this answer.
func (s *Statistics) ask(ctx context.Context) (io.ReadCloser, string, *past, error) {
	s.mu.Lock()
	base := s.base
	s.mu.Unlock()
	body, contentType, err := s.proxy.Open(ctx)
	if err != nil {
		return nil, "", nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.base != base {
		_ = body.Close()
		return nil, "", nil, errors.New("envoy was started anew meanwhile")
	}
	s.taken = nil
	return body, contentType, base, nil
}

// Snapshot remembers what Envoy has counted. Nobody asks it from then on, until Keep or
// Drop, even if there is an error.
func (s *Statistics) Snapshot(ctx context.Context) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	s.held = true
	// An answer has the histograms as they were at the one before.
	for range 2 {
		if err := s.take(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *Statistics) take(ctx context.Context) error {
	body, _, base, err := s.ask(ctx)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.taken != nil {
			// It has not answered since, so all that it has counted since goes to its successor.
			return nil
		}
		return err
	}
	taken, err := readPast(body, base)
	_ = body.Close()
	if err != nil {
		return fmt.Errorf("read envoy's statistics: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = taken
	return nil
}

// Keep adds to the answers from now on what was remembered: they are the successor's.
func (s *Statistics) Keep() {
	s.mu.Lock()
	s.base, s.taken = s.taken, nil
	s.mu.Unlock()
	s.release()
}

// Drop leaves everything as it was: there is no successor.
func (s *Statistics) Drop() { s.release() }

func (s *Statistics) release() {
	if s.held {
		s.held = false
		<-s.turn
	}
}

// Reset forgets everything: the Envoy that is about to start has no predecessor, and what
// was counted last is not known.
func (s *Statistics) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base, s.taken = nil, nil
}
