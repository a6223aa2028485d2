// Package webhooks serves admission: it refuses objects that could never be used as they
// are written, with the same coded messages that their status would have, at the moment in
// which a person sends them.
//
// The rules are those of package validate; there are none of its own, and it changes no
// object. What is not implemented yet is taken and warned of. The server speaks TLS with the
// manager's own certificate; a controller keeps it registered at the API server, with the
// roots that are trusted now. While no manager answers, objects are taken unseen: status
// tells of them later.
package webhooks
