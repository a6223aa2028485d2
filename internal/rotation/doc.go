// Package rotation keeps the mesh's certificates valid, on the leader. It knows which
// certificates there are to be (Subjects), what the Secrets hold (Held), what proxies report
// (Proxy), and the authority; out of that it decides what to issue, to renew and to ask for,
// and when, and how the authority's root changes.
//
// Certificates are kept in two places. A Secret is written here, key and all. A proxy on the
// agents' stream made its key itself, and is only told to ask for a new certificate. Both are
// planned together, by package renewal; the root by package rollover.
//
// The Engine decides in one place, step, which is a function of what is known and of the time,
// and does nothing by itself; workers do what it says. It wakes by what changes and at the next
// time that matters: a mesh in which nothing is due costs nothing. What it has to remember over
// a restart is in the Secrets, and in the status of the MeshCertificate mesh-root.
//
// Nothing here knows Kubernetes: the Store writes. Private keys are made here, go to the Store,
// and nowhere else: no log, event, metric or error has any part of one.
package rotation

import (
	"context"
	"time"

	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/renewal"
	"fairlead.dev/fairlead/internal/pki/rollover"
)

// The kinds of what keeps a certificate.
const (
	Secret = "Secret"
	Pod    = "Pod"
)

// Key names what keeps a certificate: a Secret, or a Pod whose agent has the key.
type Key struct{ Kind, Namespace, Name string }

func (k Key) String() string { return k.Kind + " " + k.Namespace + "/" + k.Name }

// Object names an object that is told of what happens to its certificates.
type Object struct{ Kind, Namespace, Name string }

// Terms are what certificates share. One value is shared by all that it holds for.
type Terms struct {
	Algorithm pki.KeyAlgorithm
	Lifetime  time.Duration
	// Issuer names who signs; empty: the mesh's authority.
	Issuer string
	// Group is whose limits count: certificates of one group share a Policy, and its limits.
	Group  string
	Policy renewal.Policy
	// Auto says that windows are learnt from the traffic, as many hours as Policy has in a day.
	Auto bool
	// Object is the MeshCertificate that says all this; none where the settings do.
	Object Object
}

// Subject is a certificate that there is to be in a Secret.
type Subject struct {
	Key      Key
	Identity pki.Identity
	Canary   bool
	// Forced asks for a renewal now when it changes.
	Forced string
	// Owner is the object that the Secret goes with.
	Owner Owner
	// Served says that proxies of this identity may mount the Secret, and that those which
	// have their certificates by the stream go by its terms.
	Served bool
	*Terms
}

// Owner is an object by the identifier that only it ever has.
type Owner struct {
	Object
	UID string
}

// Held is what a Secret of ours holds: never the key.
type Held struct {
	Version
	Issuer string
	pki.Summary
	// Fault says what is damaged; empty: nothing.
	Fault string
	// Asked is the request by hand that stands on the Secret itself.
	Asked string
	// Record is what was written beside the certificate: which request by hand it answered.
	Record Record
}

// Record is the last request by hand that was followed, and when.
type Record struct {
	Forced string    `json:"forced,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// followed is the record of a certificate that is issued while a request stands.
func (r Record) followed(forced string, now time.Time) Record {
	if r.Forced == forced {
		return r
	}
	return Record{Forced: forced, At: now}
}

// Version is one state of one Secret.
type Version struct {
	// UID tells the Secret from others that had its name before, or will.
	UID string
	// Number is higher for later states.
	Number uint64
}

// Store writes Secrets. It has to refuse, with ErrForeign, to touch what is not ours.
type Store interface {
	// Write puts a certificate into its Secret, which is made if there is none.
	// known is what is known to be there, nil for nothing.
	Write(ctx context.Context, s *Subject, known *Held, files map[string][]byte, record Record) (Version, error)
	// WriteRoots changes root-cert.pem alone.
	WriteRoots(ctx context.Context, key Key, known *Held, roots []byte) (Version, error)
	// Delete deletes a Secret, if it is still as it is known.
	Delete(ctx context.Context, key Key, known *Held) error
	// WriteAuthority replaces the authority that was read; before is nil for none.
	WriteAuthority(ctx context.Context, before, after *pki.Authority) error
	// WriteTraffic keeps what was learnt of the traffic, by namespace.
	WriteTraffic(ctx context.Context, curves map[string]string) error
	// WriteRoot writes what has to be remembered of the root's change.
	WriteRoot(ctx context.Context, state rollover.State) error
}

// Event tells of something that happened to an object's certificates.
type Event struct {
	Object  Object
	Warning bool
	Reason  string
	Message string
}
