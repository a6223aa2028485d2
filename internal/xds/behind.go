package xds

import (
	"strconv"
	"strings"
	"time"
)

// A proxy that moves here from another replica may run what this one has not heard of yet. So a
// version says, besides the hash of the content, how far the replica that sent it had followed the
// API server, and a proxy that comes with a version from further on is sent nothing until this
// replica is there, too. It goes on meanwhile with what it runs.

const (
	// catchUp is how often it is looked whether this replica is as far as a proxy, and how long
	// what the API server said takes at most to get from there to a view.
	catchUp = 100 * time.Millisecond
	// patience is how long a proxy waits. Positions go back where the API server's data was
	// restored.
	patience = time.Minute
)

// version is what the proxy is told an entry is.
func (e entry) version() string {
	if e.position == 0 {
		return e.Hash
	}
	return e.Hash + "." + strconv.FormatUint(e.position, 36)
}

// parseVersion returns what version was made of.
func parseVersion(version string) (hash string, position uint64) {
	hash, at, _ := strings.Cut(version, ".")
	position, err := strconv.ParseUint(at, 36, 64)
	if err != nil {
		return hash, 0
	}
	return hash, position
}

// wait holds everything back from a proxy that has been served up to a position.
func (s *session) wait(position uint64) {
	if position <= s.ahead || position <= s.cache.options.Position() {
		return
	}
	if s.ahead == 0 {
		now := s.cache.options.Clock.Now()
		s.cache.options.Clock.AfterFunc(catchUp, func() { s.catchUp(now.Add(patience), false) })
	}
	s.ahead = position
	s.log().Info("A proxy has been served by a replica that is ahead of this one, and waits until this one is as far")
}

// catchUp lets a proxy go on that waits, the second time that this replica is seen to be as far.
func (s *session) catchUp(latest time.Time, seen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	late := s.cache.options.Clock.Now().After(latest)
	there := s.cache.options.Position() >= s.ahead
	if late && !there {
		s.log().Warn("A proxy was served although a replica that served it before was ahead: was the API server's data restored?", "waited", patience.String())
	}
	if !late && (!there || !seen) {
		s.cache.options.Clock.AfterFunc(catchUp, func() { s.catchUp(latest, there) })
		return
	}
	s.ahead = 0
	s.advance()
}
