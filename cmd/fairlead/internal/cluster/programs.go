package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/cmd/fairlead/internal/datadir"
	"fairlead.dev/fairlead/cmd/fairlead/internal/objects"
	"fairlead.dev/fairlead/cmd/fairlead/internal/process"
)

// clusterDomain ends the fully qualified names of services.
const clusterDomain = "cluster.local"

// serviceRange is where services get their virtual addresses from. Nothing routes them
// in this mode; names are what clients call.
const serviceRange = "10.96.0.0/16"

// controllers are those of kube-controller-manager that make sense where Pods are
// started by hand: without node-lifecycle and pod-garbage-collector, which would evict
// and remove the Pods of a Node that has no kubelet.
var controllers = []string{
	"clusterrole-aggregation-controller",
	"endpointslice-controller",
	"garbage-collector-controller",
	"namespace-controller",
	"root-ca-certificate-publisher-controller",
	"serviceaccount-controller",
}

// Programs are the paths of what `fairlead up` starts.
type Programs struct {
	Etcd, APIServer, ControllerManager, Manager string
}

// FindPrograms looks beside the running program, where `make build kube` puts them;
// KUBEBUILDER_ASSETS, if set, names the folder of those that are Kubernetes' own.
func FindPrograms() (Programs, error) {
	self, err := os.Executable()
	if err != nil {
		return Programs{}, err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return Programs{}, err
	}
	beside := filepath.Dir(self)
	kubernetes := os.Getenv("KUBEBUILDER_ASSETS")
	if kubernetes == "" {
		kubernetes = filepath.Join(beside, "k8s")
	}
	return Programs{
		Etcd:              filepath.Join(kubernetes, "etcd"),
		APIServer:         filepath.Join(kubernetes, "kube-apiserver"),
		ControllerManager: filepath.Join(kubernetes, "kube-controller-manager"),
		Manager:           filepath.Join(beside, "fairlead-manager"),
	}, nil
}

func (p Programs) check(withManager bool) error {
	for _, program := range []struct {
		path, target string
		needed       bool
	}{
		{p.Etcd, "make kube", true},
		{p.APIServer, "make kube", true},
		{p.ControllerManager, "make kube", true},
		{p.Manager, "make build", withManager},
	} {
		if !program.needed {
			continue
		}
		if _, err := os.Stat(program.path); err != nil {
			return fmt.Errorf("a program is missing: %w: run `%s` in Fairlead's repository", err, program.target)
		}
	}
	return nil
}

func etcdSpec(p Programs, dir datadir.Dir) process.Spec {
	return process.Spec{
		Name: "etcd", Path: p.Etcd, Log: dir.Log("etcd"),
		Args: []string{
			"--name=fairlead",
			"--data-dir=" + dir.Etcd(),
			// Both sockets are in a folder with mode 0700, so no certificates are needed.
			"--listen-client-urls=unix://" + dir.EtcdSocket(),
			"--listen-peer-urls=unix://" + dir.EtcdPeerSocket(),
			// These must be host and port. Nobody dials them: there is one member, and the
			// API server is told the socket.
			"--advertise-client-urls=http://localhost:2379",
			"--initial-advertise-peer-urls=http://localhost:2380",
			"--initial-cluster=fairlead=http://localhost:2380",
			// A lone member elects itself once this time is over; the defaults (100, 1000)
			// are made for networks.
			"--heartbeat-interval=20",
			"--election-timeout=200",
			"--log-level=warn",
		},
	}
}

func apiServerSpec(p Programs, dir datadir.Dir, a access, port uint16) process.Spec {
	return process.Spec{
		Name: "kube-apiserver", Path: p.APIServer, Log: dir.Log("kube-apiserver"),
		Args: []string{
			"--etcd-servers=unix://" + dir.EtcdSocket(),
			"--bind-address=127.0.0.1",
			"--advertise-address=127.0.0.1",
			"--secure-port=" + strconv.Itoa(int(port)),
			// The service "kubernetes" would get a loopback address as its endpoint, which
			// the API refuses.
			"--endpoint-reconciler-type=none",
			"--service-cluster-ip-range=" + serviceRange,
			"--tls-cert-file=" + a.serverCertificate,
			"--tls-private-key-file=" + a.serverKey,
			"--client-ca-file=" + a.authority,
			"--anonymous-auth=false",
			"--authorization-mode=RBAC",
			"--service-account-issuer=https://kubernetes.default.svc." + clusterDomain,
			// The public key is taken from the private one.
			"--service-account-key-file=" + a.tokenKey,
			"--service-account-signing-key-file=" + a.tokenKey,
			// It taints every new Node until the node-lifecycle controller, which is off here,
			// finds it well.
			"--disable-admission-plugins=TaintNodesByCondition",
			"--profiling=false",
			// Not to be written where the working folder happens to be.
			"--cert-dir=" + dir.PKI(),
		},
	}
}

func controllerManagerSpec(p Programs, dir datadir.Dir, a access) process.Spec {
	return process.Spec{
		Name: "kube-controller-manager", Path: p.ControllerManager, Log: dir.Log("kube-controller-manager"),
		Args: []string{
			"--kubeconfig=" + a.controllerManager,
			"--controllers=" + strings.Join(controllers, ","),
			// Each controller has an identity, and with it the rights, of its own.
			"--use-service-account-credentials=true",
			"--root-ca-file=" + a.authority,
			"--leader-elect=false",
			// It serves nothing: that it lives is all that is asked of it.
			"--secure-port=0",
			"--kube-api-qps=200",
			"--kube-api-burst=400",
			"--profiling=false",
		},
	}
}

func managerSpec(p Programs, dir datadir.Dir, a access, xds string, extra []string) process.Spec {
	return process.Spec{
		Name: "fairlead-manager", Path: p.Manager, Log: dir.Log("fairlead-manager"),
		Args: append(managerArgs(a, xds), extra...),
	}
}

// managerArgs come first, so that the user's own win.
func managerArgs(a access, xds string) []string {
	return []string{
		"--kubeconfig=" + a.manager,
		// Workloads have certificates: nobody is let in without.
		"--xds-address=" + xds, "--xds-socket=",
		"--namespace=" + objects.ManagerNamespace,
		// A free port of this machine, by which it is registered.
		"--webhook-address=127.0.0.1:0",
		"--cluster-domain=" + clusterDomain,
		// One of each: whether the manager is ready, its port tells.
		"--leader-elect=false",
		"--metrics-bind-address=0",
		"--health-probe-bind-address=0",
	}
}
