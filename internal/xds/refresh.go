package xds

// Refresh sends every client everything that it runs once more, though nothing of it differs: for
// those who do not trust that nothing gets lost. What was acknowledged stays so, and what was
// refused is not tried again.
func (c *Cache) Refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.sessions {
		s.refresh()
	}
}

func (s *session) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, subs := range s.types {
		for _, sub := range subs {
			for name := range sub.acked {
				if _, exists := s.class.get(sub.typeURL, name); exists {
					sub.dirty[name], sub.again[name] = struct{}{}, struct{}{}
				}
			}
		}
	}
	s.advance()
}
