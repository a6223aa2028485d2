// Package publish carries changes from the mesh to the proxies: it takes what changed in
// the store, has exactly the units of translation that read it translated again, and hands
// the difference to package xds.
//
// It is the only place that knows which unit read what. Translation itself is pure
// (package translate), delivery is xds's. What translation finds wrong with objects goes to
// the status table; nothing here writes to the API server.
package publish
