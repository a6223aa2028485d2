// Package bootstrap turns what the agent was told about its workload into the file
// that Envoy starts from.
//
// It is for the few things that cannot come over xDS: who the proxy is, where its
// control plane and its own application are, and limits of the process. It never
// reads a flag, a file or the network: a Config goes in, JSON comes out, and the
// same Config gives the same bytes, so that a changed file means a changed
// configuration. The messages are plain maps because Envoy's protobuf packages alone
// would weigh more than the whole agent.
package bootstrap

import (
	"net/netip"
	"time"
)

// XDSCluster is the name of the static cluster that leads to the control plane.
const XDSCluster = "fairlead-xds"

// Protocol is how Envoy asks for its configuration.
type Protocol string

const (
	// Delta sends only what changed. It is the default.
	Delta Protocol = "delta"
	// StateOfTheWorld repeats every resource of a type with each change.
	StateOfTheWorld Protocol = "sotw"
	// DeltaStreams and StateOfTheWorldStreams are the same by a stream for each subscription, in
	// place of one for all.
	DeltaStreams           Protocol = "delta-streams"
	StateOfTheWorldStreams Protocol = "sotw-streams"
	// REST asks again and again, in JSON.
	REST Protocol = "rest"
)

// Protocols are all of them.
var Protocols = []Protocol{Delta, StateOfTheWorld, DeltaStreams, StateOfTheWorldStreams, REST}

// DNSFamily chooses the addresses that a host name is looked up by.
type DNSFamily string

const (
	// DNSAuto takes IPv6 addresses if there are any, else IPv4. It is the default.
	DNSAuto DNSFamily = "auto"
	// DNSv4 and DNSv6 take addresses of one family only.
	DNSv4 DNSFamily = "v4"
	DNSv6 DNSFamily = "v6"
	// DNSAll takes both, and tries one after the other.
	DNSAll DNSFamily = "all"
)

// Config is everything a bootstrap is made of. Who makes one checks it; what does not go
// together, Envoy refuses.
type Config struct {
	// Namespace and Pod name the proxy: its node id is "<namespace>/<pod>". Required.
	Namespace, Pod string
	// Workload is what the Pod is a replica of: the node's cluster is
	// "<workload>.<namespace>". Required.
	Workload string
	// ServiceAccount is the identity that the Pod runs as.
	ServiceAccount string
	// Revision is the revision of the control plane that the Pod was injected by.
	Revision string
	// Labels are the Pod's labels.
	Labels map[string]string
	// Locality is where the Pod runs; the zero value says nothing about it.
	Locality Locality
	// AgentVersion tells the control plane who manages this Envoy.
	AgentVersion string

	// XDSSocket is the absolute path of the control plane's Unix socket, which is spoken to
	// in plaintext. This or XDSAddress is required.
	XDSSocket string
	// XDSAddress is the control plane's HOST:PORT, which is spoken to by mutual TLS. It
	// needs CertsDir.
	XDSAddress string
	// XDSServerName is the DNS name, address or URI that the control plane's certificate
	// must have; the default is the host of XDSAddress.
	XDSServerName string
	// DNSFamily defaults to DNSAuto.
	DNSFamily DNSFamily
	// Protocol defaults to Delta.
	Protocol Protocol
	// InitialFetchTimeout bounds how long Envoy stays not ready while it waits for its
	// first listeners and clusters. 0 waits without end, so that a proxy that knows
	// nothing is never ready.
	InitialFetchTimeout time.Duration

	// ChecksHealth has Envoy check endpoints that the manager asks it to, for all callers. Not
	// by REST, whose cluster speaks no gRPC.
	ChecksHealth bool

	// Apps are the application's ports.
	Apps []App
	// AdminSocket is the absolute path at which Envoy is to serve its administration
	// interface. Required.
	AdminSocket string
	// CertsDir is the absolute path of the folder that has the files which describe the
	// workload's certificate and roots: CertificateFile and RootsFile. It is empty as long
	// as there are none; Envoy refuses a bootstrap that names files which do not exist.
	CertsDir string
	// ProofSocket is the absolute path at which Envoy is to show its certificate. It
	// needs CertsDir.
	ProofSocket string

	// SystemRoots is the absolute path of the authorities that the machine trusts, in PEM, for
	// servers that are not the mesh's. Without, Envoy refuses to call those by TLS whose policy
	// names no authorities.
	SystemRoots string

	// PressureFile is the absolute path of a file that holds 0 or 1. With 1, Envoy asks its
	// clients to go: "Connection: close" and GOAWAY, streams go on to their end. The file
	// may come later, its folder may not. It has to be replaced by a rename. Without a
	// path there is no such way.
	PressureFile string
	// HeapLimit is the most memory for Envoy's heap, in bytes; near it, Envoy gives memory
	// back and then refuses requests. 0 is no limit.
	HeapLimit uint64
	// MaxConnections limits the downstream connections of the whole process. 0 means
	// DefaultMaxConnections.
	MaxConnections uint64
}

// DefaultMaxConnections is far above what a sidecar sees and well below the file
// descriptors that container runtimes allow (1,048,576), of which a proxied request
// takes two. Without any limit Envoy warns at every start.
const DefaultMaxConnections = 100_000

// Locality is a node's place, from the widest part to the narrowest. A part may be
// empty only if all narrower ones are.
type Locality struct {
	Region  string `json:"region,omitempty"`
	Zone    string `json:"zone,omitempty"`
	SubZone string `json:"sub_zone,omitempty"`
}

// App says where the application serves what the mesh knows as Port.
type App struct {
	// Port is the port of the Pod, as Services name it in targetPort.
	Port uint16
	// Address is where the application really listens.
	Address netip.AddrPort
}
