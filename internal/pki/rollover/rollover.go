// Package rollover changes the mesh's root without a moment in which two proxies cannot
// speak to each other. It is one pure function, Step: what is remembered and what is seen
// go in, what to remember and what to do come out.
//
// It reads no clock, makes no keys and writes nothing. Its caller, the engine in
// internal/rotation, gathers Facts from the authority's Secret, the Secrets with
// certificates and the agents' reports, keeps the State in the status of the MeshCertificate
// `mesh-root`, and carries Actions out on the authority.
//
// A generation is one root with what signs below it. A change of generations goes
//
//	Stable → Prepared → TrustDistributed → Activated → LeavesMoved → Revoked → Stable
//
// and each arrow needs evidence: first every proxy is proven to trust the next generation,
// then it signs, then every proxy is proven to serve a certificate of it, then connections of
// the old one have reached their greatest age, and only then the old one goes. Who has not
// reported, or not for long, counts as unproven. To abandon a change is the same way with the
// two generations swapped: the old one was never out of anybody's trust.
//
// # Crashes
//
// The caller writes the State first, then carries the Action out, then asks again. Wherever it
// is killed, the next Step continues: what the authority holds is the truth of what was done,
// the State adds since when, in which direction, and which requests were heard. Actions are
// idempotent. A State that is lost as a whole costs time, not trust: the change goes on
// forward, and every wait starts anew.
//
// # When evidence does not come
//
// A proxy that stays silent holds a change up, and is named. It does not hold it up for ever:
// in the last call, an eighth of Policy.Before, the next one is activated without the missing
// evidence, since an expired root cuts everybody off, and a generation that has expired is
// dropped without any. Both are told as warnings.
package rollover

import "time"

// Phase is how far a change of generations has come.
type Phase string

// The phases, in order. A phase says what is true; what is waited for is in Waiting.
const (
	// Stable: one generation, which all trust.
	Stable Phase = "Stable"
	// Prepared: the next generation is made and is being put into everybody's trust.
	Prepared Phase = "Prepared"
	// TrustDistributed: every proxy is proven to trust the next generation.
	TrustDistributed Phase = "TrustDistributed"
	// Activated: the next generation signs.
	Activated Phase = "Activated"
	// LeavesMoved: every proxy is proven to serve a certificate of it.
	LeavesMoved Phase = "LeavesMoved"
	// Revoked: the old generation is being dropped; there is no way back.
	Revoked Phase = "Revoked"
)

// State is what has to outlive the manager. The zero State is that of a mesh that was never
// looked at, or whose State was lost.
type State struct {
	Phase Phase
	// Since is when Phase began.
	Since time.Time
	// Generation is the one that is left or, in Stable, the only one.
	Generation int
	// Next is the one that is to remain; 0 in Stable. Lower than Generation: the change was
	// abandoned.
	Next int
	// Last is the highest number that was ever given to a generation: none is given twice.
	Last int
	// Signed is the highest number of a generation that ever signed; 0: unknown.
	Signed int
	// Rotate and Abandon are the requests by hand that were last heard.
	Rotate, Abandon string
	// Hold keeps an abandoned change from starting again by itself.
	Hold Hold
}

// Hold ends at Until, as soon as another source than For is wanted, or by a request by hand.
type Hold struct {
	For   Source
	Until time.Time
}

// Source is where a generation comes from.
type Source struct {
	// Name is that of pki.Generation.
	Name string
	// Root is the identifier (pki.RootID) of the root that the source gives at present; empty
	// if it makes a new one for each generation.
	Root string
}

// Generation is what Step has to know of one.
type Generation struct {
	Number int
	// Source is its name, Root the identifier of its root.
	Source, Root string
	// NotBefore and NotAfter bound when all certificates of the generation are valid.
	NotBefore, NotAfter time.Time
	// Remedy is what a person has to do before it ends, if its source gives the same root still;
	// empty: bring another one.
	Remedy string
}

// Facts are what is seen.
type Facts struct {
	// Generations, Active and Trusted are the authority's, which always has a generation.
	Generations []Generation
	Active      int
	Trusted     []int
	// Wanted is the source that the settings name.
	Wanted Source
	// Dependents are all who serve a certificate or keep one to be served: Secrets, agents,
	// and Pods that are ready and have a proxy, whether it reports or not.
	Dependents []Dependent
	// Rotate and Abandon are the requests by hand: a change of the value is one.
	Rotate, Abandon string
}

// Dependent is one whose connections break if a root is changed carelessly.
type Dependent struct {
	// Name is what people are told, such as "Pod shop/reviews-1".
	Name string
	// Stored marks a Secret, which is what it holds: it does not report, and it serves nobody.
	Stored bool
	// Heard is when the last report came, by the manager's clock; zero: never.
	Heard time.Time
	// Proven says that a handshake showed that all of this is really served.
	Proven bool
	// Serves is the identifier of the root of its certificate, Trusts those of the roots that
	// it trusts.
	Serves string
	Trusts []string
	// RawQuiet says that, at least once since it serves this certificate, no raw TCP
	// connection was open.
	RawQuiet bool
}

// Policy is how patient to be.
type Policy struct {
	// Before is how long before the active generation's end the next is prepared; 0: a third of
	// its life.
	Before time.Duration
	// Settle is how long complete evidence of trust has to stand before the next generation
	// signs: longer than a replica's watch may lag.
	Settle time.Duration
	// ConnectionAge bounds the age of connections that carry HTTP or the manager's streams,
	// with the slack that their end may take.
	ConnectionAge time.Duration
	// RawDeadline is how long an old generation waits, once all certificates have moved, for raw
	// TCP connections to end.
	RawDeadline time.Duration
	// Silence is how old the last report may be.
	Silence time.Duration
	// Paused holds every change up, except in the last call.
	Paused bool
}

// Kind is what an Action does to the authority.
type Kind string

// The kinds of Actions.
const (
	// Prepare makes a generation that is neither trusted nor active.
	Prepare Kind = "Prepare"
	// Trust puts a generation into the trust bundle.
	Trust Kind = "Trust"
	// Activate makes a generation the one that signs.
	Activate Kind = "Activate"
	// Drop takes a generation out of the trust bundle and deletes its keys.
	Drop Kind = "Drop"
)

// Action is one change of the authority. Where it is done already it does nothing.
type Action struct {
	Kind       Kind
	Generation int
	// Source is where a new generation comes from, with Prepare.
	Source Source
}

// Waiting says why nothing more is done now.
type Waiting struct {
	// For names who is waited for, by name, and why.
	For []Missing
	// Until is when Step has to be asked again although no fact has changed; zero: never.
	Until time.Time
	// Message is one sentence for people; empty if nothing is waited for.
	Message string
	// Warning tells of danger, or of a request that cannot be followed: one sentence for the
	// log, an event and a condition; empty if there is none.
	Warning string
}

// Missing is one piece of evidence that is not there.
type Missing struct{ Name, Reason string }
