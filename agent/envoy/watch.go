package envoy

import (
	"context"
	"fmt"
	"time"
)

const (
	// Nothing is gained by noticing sooner: Envoy takes about 100 ms to its first
	// answer.
	startingInterval = 50 * time.Millisecond
	// An Envoy that has not become live by patienceAfter waits for something outside,
	// so a tenth of a second more is not noticed; idle CPU is.
	patienceAfter   = 5 * time.Second
	patientInterval = 200 * time.Millisecond
	// The process itself is watched all the time. This is for one that exists and does
	// nothing; asking is most of what an idle agent takes: at 2 s it was 0.11 % of a CPU.
	liveInterval = 4 * time.Second
	// Once it was silent, more is at stake.
	silentInterval = time.Second
	// Envoy's main thread answers, and it is busy while it takes in a large
	// configuration; its workers serve meanwhile.
	unresponsiveAfter = 5 * time.Second
)

// serves is what is said of an Envoy that is live.
const serves = "Envoy serves"

// observation is what one look at Envoy's administration interface told.
type observation struct {
	state  State
	reason string
}

// prober is the part of Admin that a watch needs.
type prober interface {
	state(context.Context) (serverState, error)
	connected(context.Context) (bool, error)
}

// watch looks at one process until the context ends. It sends an observation whenever
// it differs from the one before.
type watch struct {
	prober       prober
	controlPlane string
	observed     chan<- observation
	// live: the process was live before the watch began.
	live bool
	// mute is why the process cannot be asked. It is then believed to serve as long as it
	// exists.
	mute string
}

func (w watch) run(ctx context.Context) {
	started := time.Now()
	var previous observation
	wasLive := w.live
	if w.mute != "" {
		select {
		case w.observed <- observation{Live, serves + "; " + w.mute}:
		case <-ctx.Done():
		}
		return
	}
	var silentSince time.Time
	for {
		asked := time.Now()
		current, err := w.look(ctx, asked.Sub(started) > time.Second)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			silentSince = time.Time{}
			wasLive = wasLive || current.state == Live
		case !wasLive:
			current = observation{Starting, "waiting for Envoy's first answer"}
		default:
			if silentSince.IsZero() {
				silentSince = asked
			}
			current = previous
			if silent := time.Since(silentSince); silent >= unresponsiveAfter {
				current = observation{Unresponsive, fmt.Sprintf("Envoy has not answered its administration interface for %s or more", unresponsiveAfter)}
			}
		}
		if current != previous {
			select {
			case w.observed <- current:
			case <-ctx.Done():
				return
			}
			previous = current
		}
		interval := liveInterval
		switch {
		case !silentSince.IsZero():
			interval = silentInterval
		case current.state == Starting:
			interval = startingInterval
			if time.Since(started) > patienceAfter {
				interval = patientInterval
			}
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return
		}
	}
}

// look asks once. Only when asked for detail does it find out what a starting Envoy
// waits for: for the first second the answer would be of no use.
func (w watch) look(ctx context.Context, detail bool) (observation, error) {
	ctx, cancel := context.WithTimeout(ctx, unresponsiveAfter)
	defer cancel()
	state, err := w.prober.state(ctx)
	if err != nil {
		return observation{}, err
	}
	switch state {
	case serverLive:
		return observation{Live, serves}, nil
	case serverDraining:
		return observation{Draining, "Envoy was told to drain"}, nil
	}
	if !detail {
		return observation{Starting, "Envoy initializes"}, nil
	}
	connected, err := w.prober.connected(ctx)
	switch {
	case err != nil:
		return observation{}, err
	case connected:
		return observation{Starting, "connected to the control plane at " + w.controlPlane + ", waiting for its first clusters and listeners"}, nil
	default:
		return observation{Starting, "waiting for the control plane: no stream to " + w.controlPlane + " yet"}, nil
	}
}
