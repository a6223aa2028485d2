// Package agents serves the stream that every agent holds to the manager: certificates go out
// by it, and what the proxies really run comes in.
//
// A caller is known by its certificate or, as long as it has none, by a token that is bound to
// its Pod (authenticate.go), and gets certificates for its own service account only. What
// agents report is kept in the Table, by node, for the rotation of certificates; nothing
// here decides when one is renewed. Keys are made by the agents and never seen here.
package agents
