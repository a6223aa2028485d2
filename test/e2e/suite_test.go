package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"fairlead.dev/fairlead/test/echo"
)

// patience is for a machine that is busy with other things; nothing here is expected to
// take it.
const patience = echo.Patience

// poll is how often something is looked at that is waited for.
const poll = 20 * time.Millisecond

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "echo" {
		if err := serveEcho(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "echo:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// What clients are warned of is told by the specs.
	ctrllog.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

func TestEndToEnd(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(poll)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "The mesh, end to end")
}

// The mesh that all specs share, and its workloads. Specs make their own hosts in it, and
// remove what they made.
var (
	fairlead *mesh
	// front and ledger call others: front's proxy speaks incremental xDS, ledger's the
	// state of the world.
	front, ledger *workload
	// echoV1 and echoV2 are the two versions of the service echo, of the same two kinds.
	echoV1, echoV2 *workload
	// subsets is the DestinationRule of echo, with its subsets v1 and v2.
	subsets object
)

// all are the workloads that live as long as the suite.
func all() []*workload { return []*workload{front, ledger, echoV1, echoV2} }

// callers are where every request of the core cases is made from.
func callers() []*workload { return []*workload{front, ledger} }

var _ = BeforeSuite(func() {
	fairlead = startMesh()
	apply(echoService)
	subsets = apply(echoSubsets)
	front = fairlead.start(workload{name: "front", labels: "app=front,team=shop", outboundTCP: "echo:9000"})
	ledger = fairlead.start(workload{name: "ledger", labels: "app=ledger,team=bank", outboundTCP: "echo:9000", protocol: "sotw"})
	echoV1 = fairlead.start(echoWorkload("v1", "delta"))
	echoV2 = fairlead.start(echoWorkload("v2", "sotw"))
	for _, w := range all() {
		w.awaitReady()
	}
	for _, caller := range callers() {
		for _, version := range []string{"v1", "v2"} {
			Eventually(func() string { return caller.get("http://echo/").Version }).
				Should(Equal(version), "%s reaches both versions", caller.name)
		}
	}
})

// turns are labels of their own, so that there are many ways to select the same Pods.
const turns = 5

// echoWorkload is a replica of the service echo.
func echoWorkload(version, protocol string) workload {
	labels := "app=echo,version=" + version
	for i := range turns {
		labels += fmt.Sprintf(",turn-%d=yes", i)
	}
	return workload{
		name: "echo-" + version, labels: labels, protocol: protocol, version: version,
		ports: []string{"9080", "9081", "9000/tcp", "9090/grpc"},
	}
}

const echoService = `
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports:
  - {name: http, port: 80, targetPort: 9080}
  - {name: http-other, port: 8081, targetPort: 9081}
  - {name: tcp-lines, port: 9000}
  - {name: calls, port: 9090, appProtocol: kubernetes.io/h2c}
`

const echoSubsets = `
apiVersion: mesh.fairlead.dev/v1alpha1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
`
