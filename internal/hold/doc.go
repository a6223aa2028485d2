// Package hold decides which spec of each object is in use: the newest that is accepted, unless a
// proxy refused what is made of it. Then that generation is held: in its place goes the last one
// that every proxy concerned took, or none if there is no such one.
//
// The Holder stands between delivery and status. Reconcilers tell it what specs there are and what
// is written down of them; package xds reports to it what proxies did, and it hands these reports
// on with what they mean: a refusal that is being looked into is not told yet. It puts specs into
// the store by functions that it is given, and tells what is to be written down; it does no I/O.
//
// Who is at fault is found by trying. The suspects are the objects behind what changed of the
// refused resource since its proxy acknowledged it. A single one is at fault. Several are all
// taken back, so that everything goes on as it was, and then brought again by halves, each once
// the one before is judged: a half that is refused again is halved. What every proxy took in its
// generation is no suspect: a proxy that refuses it later goes without.
package hold
