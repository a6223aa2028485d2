// Package translate turns the mesh into Envoy resources. It is pure: no client, no
// clock, no randomness, and the same mesh gives the same bytes.
//
// It works in units, each the smallest piece that is built again when something that it
// read changes: the routes of one host, the clusters of one host, the endpoints of one
// host, the listeners of one class of proxies. A unit reads the mesh through a mesh.View
// only; wrapped in a mesh.Recorder, the view tells which changes concern which unit.
// Units and ClassOf read through the view too. Package publish does that wrapping and
// hands the resources to package xds.
//
// Names are fixed, since packages, people and dashboards rely on them:
//
//   - a cluster and its load assignment: outbound|<port>|<subset>|<host>
//   - a route configuration: <host>:<port>
//   - a scope of outbound routes: its key, an authority or an address with a port
//   - listeners of a proxy that is called by address: outbound, outbound|<port>|<host>
//     for TCP, inbound|<port>; of an intercepting proxy: outbound and inbound, and
//     outbound|<address>:<port> for what is not HTTP
//   - app|<port>: a static cluster of the agent's bootstrap, where the application
//     serves that port; it is not built here
package translate
