// Package pki makes and reads the mesh's certificates: identities, keys, the authority with
// its generations of roots, the leaves they sign, and the files that Secrets hold.
//
// It reads no Secret and writes none, and decides nothing: package renewal says when a
// certificate is renewed, package rollover how a root is replaced. An Authority comes from
// the Secret that every replica watches, is kept in a Source, and goes from there to whoever
// signs or verifies. Time comes in by parameter. Nothing here logs a key or puts one, or
// anything that was read in place of one, into an error.
package pki
