// Package xds serves Envoy resources to proxies and knows what each proxy really runs.
//
// Resources are content-addressed: each is marshalled once, named by the hash of its
// bytes and shared by all who need it. Proxies with the same answer share one view (a
// class); a change marks names in the view, and each session sends what differs from
// what its client has acknowledged. go-control-plane's servers speak the protocol on streams,
// for all types or for one (separate.go); clients that poll are answered in JSON (rest.go,
// poll.go). Each client has a session here, since what those servers count as delivered is
// what was sent, while a session counts what was acknowledged:
//
//   - at most one response a type is under way until its answer comes;
//   - routes wait for their clusters and endpoints, clusters stay until no route that a
//     proxy runs needs them (make before break, gate.go);
//   - after a refusal the resources are sent again alone, and the one at fault is
//     withheld until it changes (probe.go);
//   - what proxies run is told by object, as delivery reports (tracker.go).
//
// It knows nothing of Kubernetes or of our kinds: package publish fills it.
package xds
