// Package latest keeps a value that is replaced as a whole, such as settings or an authority, and
// tells of changes. It knows nothing of what it keeps.
package latest

import "sync"

// Value is the value as it is now. It is safe for concurrent use.
type Value[T any] struct {
	same func(a, b T) bool

	mu      sync.Mutex
	current T
	changed chan struct{}
}

// New keeps a first value. One that is the same as that before is no change.
func New[T any](first T, same func(a, b T) bool) *Value[T] {
	return &Value[T]{same: same, current: first, changed: make(chan struct{})}
}

// Get returns the value, which must not be changed.
func (v *Value[T]) Get() T {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.current
}

// Set replaces the value.
func (v *Value[T]) Set(value T) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.same(v.current, value) {
		return
	}
	v.current = value
	close(v.changed)
	v.changed = make(chan struct{})
}

// Changes is closed by the next change. Whoever takes it before calling Get misses none.
func (v *Value[T]) Changes() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}
