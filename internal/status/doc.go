// Package status keeps, for every object, what a person is to be told of it: whether it
// is accepted, whether what it names exists, and whether every proxy that it concerns
// runs it.
//
// The Table brings three streams together: observations from the reconcilers (which
// generation there is, what validation finds, what the API server shows as status now),
// findings from translation, and delivery reports from the xDS server. Out of them it
// computes each object's v1alpha1.Status, and remembers which of them the API server does
// not show yet. Every replica keeps a table; only the leader's StatusWriter takes from
// it, so that a new leader finds in its own table exactly what the old one had not
// written.
//
// The package does no I/O and reads no clock but the one it is given. For one object the
// streams have to keep this order: Observe, then the Findings of translating that
// generation, then Delivered with that generation. A report is also the sign that
// translation has spoken, so one is due for every generation that reaches the store, with
// zero counts if no proxy is concerned.
package status
