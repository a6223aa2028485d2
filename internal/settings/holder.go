package settings

import "sync"

// Holder keeps the settings that are in force. It is safe for concurrent use.
type Holder struct {
	mu      sync.Mutex
	current *Settings
	changed chan struct{}
}

// NewHolder returns a holder of Default.
func NewHolder() *Holder { return &Holder{current: Default(), changed: make(chan struct{})} }

// Get returns the settings in force.
func (h *Holder) Get() *Settings {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.current
}

// Set puts settings in force.
func (h *Holder) Set(s *Settings) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current = s
	close(h.changed)
	h.changed = make(chan struct{})
}

// Changes returns a channel that is closed at the next Set. Who waits asks for it before
// Get, and again after each change.
func (h *Holder) Changes() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}
