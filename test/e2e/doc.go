// Package e2e tests the mesh as a person meets it: `fairlead up` and `fairlead run` start
// the real API server, manager, agents and Envoys; objects are applied to the API server;
// requests go by real Envoys to applications that answer what they saw.
//
// It looks at three things only: what an application saw, what a client got, and what
// the API server tells of an object. Callers of both variants of xDS, incremental and
// state of the world, are part of the mesh and make the same requests.
package e2e
