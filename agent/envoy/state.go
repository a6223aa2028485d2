package envoy

import "time"

// State is what the supervised Envoy is doing, as readiness and people see it.
type State string

const (
	// Starting: Envoy is being validated, is not up yet, or has no configuration yet.
	Starting State = "starting"
	// Live: Envoy has its configuration and serves. The only state that is ready.
	Live State = "live"
	// Unresponsive: Envoy was live and its process exists, but it no longer answers.
	Unresponsive State = "unresponsive"
	// Draining: Envoy is going away, because it was told to.
	Draining State = "draining"
	// BackingOff: Envoy ended by itself, and is started again in a while.
	BackingOff State = "backing-off"
	// Failed: Envoy could not be started or ended by itself. The agent exits.
	Failed State = "failed"
)

// States are all that there are.
var States = []string{string(Starting), string(Live), string(Unresponsive), string(Draining), string(BackingOff), string(Failed)}

// Status is a State with its circumstances.
type Status struct {
	State State `json:"state"`
	// Reason says in a sentence why it is in this state.
	Reason string `json:"reason"`
	// Since is when the state, not the reason, last changed.
	Since time.Time `json:"since"`
	// Epoch is the restart epoch of the Envoy that PID names. It begins at 0.
	Epoch int `json:"epoch"`
	// PID is 0 while there is no process.
	PID int `json:"pid"`
	// RescueTokens is how often Envoy may still end by itself.
	RescueTokens int `json:"rescueTokens"`
	// LastRestart is nil as long as there was none.
	LastRestart *Restart `json:"lastRestart,omitempty"`
}

// Restart is what became of a restart that was asked for.
type Restart struct {
	// Kind is hot or cold, Result succeeded, refused or failed.
	Kind   string `json:"kind"`
	Result string `json:"result"`
	// Reason is why it was asked for, or why it did not take place.
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Ready tells whether traffic may be sent to the proxy.
func (s Status) Ready() bool { return s.State == Live }
