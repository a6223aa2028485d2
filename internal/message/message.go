// Package message holds what Fairlead tells a person about their objects: each
// message has a stable code, a text that names what is wrong, and a fix.
//
// One catalogue serves the status of objects, the admission webhook and the command
// line. Nothing here decides: packages validate and translate find, this one words.
package message

import (
	"cmp"
	"slices"

	"fairlead.dev/fairlead/internal/mesh"
)

// Topic says which condition of the object a finding belongs to.
type Topic int

// The topics.
const (
	// Acceptance findings make an object not accepted: it is not used as it stands.
	Acceptance Topic = iota
	// References findings say that something the object names does not exist; the
	// rest of the object is in use.
	References
	// Advice keeps nothing from being used: it is told beside what is accepted.
	Advice
	// Delivery findings say what proxies made of the object.
	Delivery
)

// Finding is one thing that is wrong with an object.
type Finding struct {
	// Code is stable and listed in docs/messages.md, such as FL0101.
	Code string
	// Reason is the condition's machine-readable reason.
	Reason string
	Topic  Topic
	Object mesh.ObjectID
	// Path is the field, such as spec.http[0].route[1].destination.host.
	Path string
	Text string
	Fix  string
}

// String returns the message as status and command line show it.
func (f Finding) String() string {
	text := f.Code + " " + f.Path + ": " + f.Text
	if f.Path == "" {
		text = f.Code + ": " + f.Text
	}
	if f.Fix != "" {
		text += "; " + f.Fix
	}
	return text
}

// Sort orders findings by object, path and code and drops repetitions.
func Sort(findings []Finding) []Finding {
	slices.SortFunc(findings, func(a, b Finding) int {
		return cmp.Or(
			a.Object.Compare(b.Object),
			cmp.Compare(a.Topic, b.Topic),
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Code, b.Code),
			cmp.Compare(a.Text, b.Text),
		)
	})
	return slices.Compact(findings)
}
