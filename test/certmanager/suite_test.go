// Package certmanager tries certificates by cert-manager: with its real CRDs and its real
// controllers, on the API server of a real mesh, which is `fairlead up` as it is built in bin/.
//
// It is a module of its own, so that what cert-manager's controllers need, which is much, stays
// out of Fairlead's. cert-manager's program is not in its module, so its controllers are put
// together here: those for issuers, the signers of the types ca and selfsigned, and the
// approver, which does not approve in the namespace "strict".
package certmanager

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	cmclient "github.com/cert-manager/cert-manager/pkg/client/clientset/versioned"
	"github.com/cert-manager/cert-manager/pkg/controller"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	caRequests "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	selfSignedRequests "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	"github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"         // The type, for the controllers.
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned" // The same.
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"fairlead.dev/fairlead/api/v1alpha1"
)

// The namespaces. In all of them, requests are signed once they are approved.
const (
	approving = "mesh"
	strict    = "strict"
	// shop is where the mesh's workloads are, system where its manager is.
	shop, system = "shop", "fairlead-system"
	// resources is where ClusterIssuers' Secrets are.
	resources = "cert-manager"
)

// cluster is what all tests share.
var cluster struct {
	kubernetes kubernetes.Interface
	cm         cmclient.Interface
	dynamic    dynamic.Interface
	// data is the folder of `fairlead up`.
	data, kubeconfig string
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "answer" {
		// It is the application of a workload.
		fmt.Fprintln(os.Stderr, answer())
		os.Exit(1)
	}
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (status int, err error) {
	stopMesh, err := startMesh()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stopMesh()) }()
	config, err := clientcmd.BuildConfigFromFlags("", cluster.kubeconfig)
	if err != nil {
		return 0, err
	}
	config.QPS = -1
	cluster.kubernetes = kubernetes.NewForConfigOrDie(config)
	cluster.cm = cmclient.NewForConfigOrDie(config)
	cluster.dynamic = dynamic.NewForConfigOrDie(config)
	for name, labels := range map[string]map[string]string{approving: nil, strict: nil, resources: nil, shop: {v1alpha1.InjectionLabel: "enabled"}} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
		if _, err := cluster.kubernetes.CoreV1().Namespaces().Create(context.Background(), namespace, metav1.CreateOptions{}); err != nil {
			return 0, err
		}
	}
	if errBeforeInstall, err = withoutCertManager(); err != nil {
		return 0, err
	}
	crds, err := crdFolder()
	if err != nil {
		return 0, err
	}
	if _, err := envtest.InstallCRDs(config, envtest.CRDInstallOptions{Paths: []string{crds}, ErrorIfPathMissing: true}); err != nil {
		return 0, err
	}
	stop, err := startControllers()
	if err != nil {
		return 0, err
	}
	defer stop()
	return m.Run(), nil
}

// crdFolder is in cert-manager's module.
func crdFolder() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager").Output()
	if err != nil {
		return "", fmt.Errorf("find cert-manager's module: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "deploy", "crds"), nil
}

// startControllers starts cert-manager; stop returns when it has ended.
func startControllers() (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	stop = func() {
		cancel()
		running.Wait()
	}
	controllers := map[string][]string{
		"": {issuers.ControllerName, clusterissuers.ControllerName, caRequests.CRControllerName, selfSignedRequests.CRControllerName},
	}
	for _, namespace := range []string{approving, shop, system} {
		controllers[namespace] = []string{approver.ControllerName}
	}
	for namespace, names := range controllers {
		options := controller.ContextOptions{Kubeconfig: cluster.kubeconfig, Namespace: namespace, KubernetesAPIQPS: 200, KubernetesAPIBurst: 400}
		options.ClusterResourceNamespace = resources
		factory, err := controller.NewContextFactory(ctx, options)
		if err != nil {
			stop()
			return nil, err
		}
		for _, name := range names {
			made, err := controller.Known()[name](factory)
			if err != nil {
				stop()
				return nil, fmt.Errorf("cert-manager's controller %s: %w", name, err)
			}
			// The error is that the context ended before caches were filled.
			running.Go(func() { _ = made.Run(5, ctx) })
		}
		shared, err := factory.Build("fairlead-test")
		if err != nil {
			stop()
			return nil, err
		}
		shared.SharedInformerFactory.Start(ctx.Done())
		shared.KubeSharedInformerFactory.Start(ctx.Done())
	}
	return stop, nil
}
