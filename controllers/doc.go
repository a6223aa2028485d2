// Package controllers watches the API server and keeps two things in step with it: the
// mesh.Store, which everything served is made from, and the status.Table, out of which
// objects are told what became of them.
//
// There is one reconciler a kind. Each is a short list of phases: read the object, convert
// it (package convert, which validates), note it in the status table, put it into the
// store. They run on every replica, since every replica serves; the StatusWriter alone
// runs on the leader. The Primer fills the store once before anything is served.
//
// On the leader, three reconcilers feed the engine of internal/rotation (which certificates there
// are to be, what Secrets hold, what mesh-root says), and certificateStore writes for it.
//
// Nothing here builds Envoy resources or talks to proxies. What is written is status, events, and
// the Secrets and ConfigMaps that are Fairlead's own; no key is kept here or told of.
package controllers
