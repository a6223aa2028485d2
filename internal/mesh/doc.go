// Package mesh holds the mesh as plain Go values: what services there are, which
// endpoints serve them, which workloads run, and how traffic is to be routed. It is
// the intermediate representation between front ends (Kubernetes objects, Fairlead's
// own kinds, one day the Gateway API) and translation into Envoy resources.
//
// Nothing here knows of Kubernetes types or of Envoy types, does I/O or reads a clock.
// Values come in by the Store from the controllers and go out to package translate
// through the View interface; every value is immutable once it was handed over.
package mesh
