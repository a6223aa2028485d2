package mesh

import "slices"

// SetHealth says which endpoints, as ADDRESS:PORT, one check found to be ill.
func (s *Store) SetHealth(check string, unhealthy []string) {
	s.mu.Lock()
	defer s.release()
	if slices.Equal(s.unhealthy[check], unhealthy) {
		return
	}
	if s.unhealthy[check] = unhealthy; len(unhealthy) == 0 {
		delete(s.unhealthy, check)
	}
	s.mark(KindHealth, check)
}

// Unhealthy implements View.
func (s *Store) Unhealthy(check string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.unhealthy[check]
}

// Unhealthy implements View.
func (r *Recorder) Unhealthy(check string) []string {
	r.note(KindHealth, check)
	return r.View.Unhealthy(check)
}
