// Package delivery holds the words in which it is told how far the proxies are with an
// object: package xds writes reports, package status reads them.
//
// It is types only, so that neither of the two needs the other.
package delivery

import "fairlead.dev/fairlead/internal/mesh"

// Report is what the proxies of this replica did with one generation of an object.
// Each report replaces the ones before it for the same object.
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
}

// Rejection is one proxy's refusal of one resource.
type Rejection struct {
	// Node is "<namespace>/<pod>".
	Node string
	// Resource is the short type and the name, as in "route reviews.prod:9080".
	Resource string
	// Message is the proxy's own text.
	Message string
}
