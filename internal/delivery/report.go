// Package delivery holds the words in which it is told how far the proxies are with an
// object: package xds writes reports, packages hold and status read them.
//
// It is types only, so that none of them needs another.
package delivery

import "fairlead.dev/fairlead/internal/mesh"

// Report is what the proxies of this replica did with one generation of an object.
// Each report replaces the ones before it for the same object. That an object is not in use any
// more is said with mesh.DeletedGeneration.
type Report struct {
	Object     mesh.ObjectID
	Generation int64
	// Concerned counts the proxies that are subscribed to something made from the object:
	// connected, or lost and within their grace period.
	Concerned int
	// Acknowledged, Rejected and Lost count those of them that run this generation, that
	// refused it, and that are disconnected. A lost proxy may have acknowledged.
	Acknowledged int
	Rejected     int
	Lost         int
	// Settled is false while proxies may still be about to reconnect after the start of
	// this replica: no proxy concerned says nothing then.
	Settled bool
	// Rejections tells the first ten refusals by node.
	Rejections []Rejection
	// Held is true where this generation was taken back from all proxies, since one of them
	// refused it; Serving is the generation that they have in its place, zero for none.
	Held    bool
	Serving int64
}

// Rejection is one proxy's refusal of one resource.
type Rejection struct {
	// Node is "<namespace>/<pod>".
	Node string `json:"node"`
	// Resource is the short type and the name, as in "route reviews.prod:9080".
	Resource string `json:"resource"`
	// Message is the proxy's own text.
	Message string `json:"message"`
	// Suspects are what may be at fault: the objects behind what changed of the resource since
	// the proxy acknowledged it last, sorted.
	Suspects []Version `json:"-"`
}

// Version is one generation of an object.
type Version struct {
	Object     mesh.ObjectID
	Generation int64
}
