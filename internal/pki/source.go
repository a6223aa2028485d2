package pki

import (
	"errors"
	"sync"
)

// ErrNoAuthority is why nothing can be signed or verified at a mesh's very start.
var ErrNoAuthority = errors.New("the mesh has no authority yet: wait until the leading manager has made it")

// Source holds the authority as it is now, for those who sign and verify in this process.
// Only the one who watches the authority's Secret sets it.
type Source struct {
	mu      sync.Mutex
	current *Authority
	changed chan struct{}
}

// NewSource holds no authority yet.
func NewSource() *Source { return &Source{changed: make(chan struct{})} }

// Set replaces the authority. One that is equal is no change.
func (s *Source) Set(a *Authority) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Equal(a) {
		return
	}
	s.current = a
	close(s.changed)
	s.changed = make(chan struct{})
}

// Get is the authority, which must not be changed; nil before the first Set.
func (s *Source) Get() *Authority {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// Changes is closed by the next change. Whoever takes it before calling Get misses none.
func (s *Source) Changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}
