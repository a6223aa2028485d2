// Package certs keeps the certificates that Envoy reads: it copies what is mounted into
// the Pod, or what it is given from memory, to a folder of the agent's own, whole
// generations at a time, and finds out whether Envoy serves them.
//
// Its data comes from the mounted folder: a Kubernetes Secret, whose files are swapped
// by one rename, or a plain folder whose files are rewritten one by one; or from Give and
// Trust. It goes to DIR/certs, where Envoy finds it by the two SDS files that this package
// writes (see Paths), and as a Status to whoever asks.
//
// It never lets a set of files through that does not belong together or is not valid
// now: the one before it goes on being served, and the complaint says which file is
// wrong and what to do. It never writes to the mounted folder, never issues or renews
// anything, never logs or keeps a private key, and does not know how Envoy is run: that
// a restart should follow is for the caller of New to decide.
package certs

import (
	"log/slog"
	"path/filepath"
	"time"
)

// Names of the files in the mounted folder, and of their copies.
const (
	RootsFile = "root-cert.pem"
	ChainFile = "cert-chain.pem"
	KeyFile   = "key.pem"
)

// Names of the secrets in the SDS files, by which Envoy asks for them.
const (
	CertificateSecret = "certificate"
	RootsSecret       = "roots"
)

// Paths is what Envoy's configuration has to know of the agent's folder.
type Paths struct {
	// Folder is the watched_directory of both secrets, and Current the symlink in it that
	// leads to the generation which is served.
	Folder, Current string
	// CertificateSDS and RootsSDS are for path_config_source.
	CertificateSDS, RootsSDS string
	// ProofSocket is where Envoy is to listen with the certificate, for Prove.
	ProofSocket string
}

// PathsIn tells the paths for the agent with the given folder. It touches nothing.
func PathsIn(dir string) Paths {
	folder := filepath.Join(dir, "certs")
	return Paths{
		Folder:         folder,
		Current:        filepath.Join(folder, "current"),
		CertificateSDS: filepath.Join(folder, "sds-certificate.json"),
		RootsSDS:       filepath.Join(folder, "sds-roots.json"),
		ProofSocket:    filepath.Join(dir, "proof.sock"),
	}
}

// Options says where certificates come from and go to, and who is told. All fields are
// required but those that have a default.
type Options struct {
	// Mount is the folder with RootsFile, ChainFile and KeyFile. It may be missing, and
	// go and come. Without a name nothing is mounted: certificates come by Give.
	Mount string
	// Dir is the agent's own folder, open to nobody else.
	Dir string
	// Recheck is how often Mount is read again in case its change went unnoticed. It is
	// needed with Mount only.
	Recheck time.Duration
	// ProofPatience is how long Prove waits for Envoy before it complains. It defaults to
	// 30 s, far more than Envoy takes, which is milliseconds.
	ProofPatience time.Duration
	// Now defaults to time.Now. Validity is judged by it.
	Now func() time.Time
	Log *slog.Logger
	// Changed is called by Run, Give and Trust after a new generation was stored. It must
	// not wait for anything: the next change would wait too.
	Changed func(Certificate)
	// Refused is called when a set of files could not be taken, once for as long as the
	// reason stays the same. It must not wait either.
	Refused func(error)
}

// Certificate describes the generation that was stored last. It holds no secret.
type Certificate struct {
	// Generation counts from 1.
	Generation int `json:"generation"`
	// Serial is the leaf's serial number in hexadecimal digits.
	Serial string `json:"serial"`
	// Fingerprint is the SHA-256 of the leaf's DER in hexadecimal digits.
	Fingerprint string `json:"fingerprint"`
	// URIs are the leaf's names of that kind, such as its SPIFFE identity.
	URIs []string `json:"uris,omitempty"`
	// Root is the SHA-256 of the DER of the root that the leaf leads to, in hexadecimal
	// digits, and Trusted the same of all roots, sorted.
	Root    string   `json:"root"`
	Trusted []string `json:"trusted"`
	// NotBefore and NotAfter are the leaf's.
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	// Expires is when nobody can verify the leaf any more: NotAfter, or earlier if its
	// issuer ends before it.
	Expires time.Time `json:"expires"`
	// RootsExpire is when the first of the roots ends.
	RootsExpire time.Time `json:"rootsExpire"`
	// Loaded is when the generation was stored.
	Loaded time.Time `json:"loaded"`
}

// Status is how the certificates are.
type Status struct {
	// Certificate is what Envoy is given, nil if nothing could be taken yet.
	Certificate *Certificate `json:"certificate,omitempty"`
	// Proven is when a handshake with Envoy showed this certificate, zero if none has.
	Proven time.Time `json:"proven,omitzero"`
	// Complaint is why what is mounted, or was given last, is not what is served; empty if
	// it is.
	Complaint string `json:"complaint,omitempty"`
	// ProofComplaint is why Envoy is not known to serve the certificate, although it
	// has been asked for a while.
	ProofComplaint string `json:"proofComplaint,omitempty"`
}
