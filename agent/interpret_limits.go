package main

import (
	"fmt"
	"math/bits"
	"time"

	"fairlead.dev/fairlead/agent/flags"
)

// spareTime is what the agent keeps of its grace period to tidy up and to end.
const spareTime = time.Second

func (s *settings) checkNumbers(found *flags.Problems) {
	if s.concurrency < 0 || s.concurrency > 1024 {
		found.Add("concurrency", "is %d: use 1 to 1024, or 0 for one thread a CPU", s.concurrency)
	}
	if s.maxConnections == 0 {
		found.Add("max-connections", "is 0: use a number from 1 up; Envoy would take no connection at all")
	}
	if s.rescueTokens < 0 || s.rescueTokens > 1000 {
		found.Add("rescue-tokens", "is %d: use 1 to 1000, or 0 to end with Envoy's first failure", s.rescueTokens)
	} else if most := bits.Len64(uint64(24 * time.Hour / max(1, s.rescueDelay))); s.rescueDelay > 0 && s.rescueTokens > most {
		found.Add("rescue-tokens", "is %d: with a --rescue-delay of %s, doubled each time, the last wait would be longer than a day: use at most %d, or a shorter delay",
			s.rescueTokens, s.rescueDelay, most)
	}
}

func (s *settings) checkTimes(found *flags.Problems) {
	tooShort := map[string]bool{}
	for _, d := range []struct {
		flag    string
		value   time.Duration
		least   time.Duration
		example string
	}{
		{"initial-fetch-timeout", s.initialFetchTimeout, 0, "0 or 15s"},
		{"certificate-recheck", s.certificateRecheck, time.Second, "1m"},
		{"drain-time", s.drainTime, time.Second, "30s"},
		{"parent-shutdown-time", s.parentShutdownTime, 0, "45s"},
		{"restart-timeout", s.restartTimeout, time.Second, "1m"},
		{"rescue-delay", s.rescueDelay, 0, "200ms"},
		{"rescue-refill", s.rescueRefill, time.Second, "10m"},
		{"termination-grace-period", s.terminationGracePeriod, 0, "30s"},
		{"min-drain", s.minDrain, 0, "0 or 5s"},
		{"stop-timeout", s.stopTimeout, time.Millisecond, "5s"},
	} {
		if d.value < d.least {
			tooShort[d.flag] = true
			found.Add(d.flag, "is %s: use a longer time, such as %s", d.value, d.example)
		}
	}
	if tooShort["drain-time"] || tooShort["parent-shutdown-time"] {
		// What they would be compared with is wrong itself.
	} else if err := s.checkParentShutdown(); err != nil {
		found.Add("parent-shutdown-time", "%w", err)
	}
	if tooShort["termination-grace-period"] || tooShort["stop-timeout"] || tooShort["min-drain"] {
		return
	}
	if needed := s.stopTimeout + spareTime + s.minDrain; s.terminationGracePeriod < needed {
		found.Add("termination-grace-period", "is %s, but --min-drain (%s), --stop-timeout (%s) and %s to spare make %s: give it at least that, and the Pod too, or shorten the others",
			s.terminationGracePeriod, s.minDrain, s.stopTimeout, spareTime, needed)
	}
}

// checkParentShutdown fills in the default, and refuses to end a predecessor before it
// has drained.
func (s *settings) checkParentShutdown() error {
	// Envoy counts both in whole seconds.
	least := s.drainTime.Round(time.Second) + time.Second
	if s.parentShutdownTime == 0 {
		s.parentShutdownTime = max(least, (s.drainTime + s.drainTime/2).Round(time.Second))
	}
	if s.parentShutdownTime.Round(time.Second) < least {
		return fmt.Errorf("is %s, but the predecessor drains for a --drain-time of %s first: give it at least %s, or leave it",
			s.parentShutdownTime, s.drainTime, least)
	}
	return nil
}

// drainDeadline is how long a drain may take after SIGTERM, so that Envoy and the agent
// can still end by themselves.
func (s *settings) drainDeadline() time.Duration {
	return s.terminationGracePeriod - s.stopTimeout - spareTime
}
