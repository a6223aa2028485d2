// Package certmanager tries certificates by cert-manager: with its real CRDs and its real
// controllers, on a real API server.
//
// It is a module of its own, so that what cert-manager's controllers need, which is much, stays
// out of Fairlead's. cert-manager's program is not in its module, so its controllers are put
// together here: those for issuers, the signers of the types ca and selfsigned, and the
// approver, which here approves in the namespace "mesh" only.
package certmanager

import (
	"context"
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
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"fairlead.dev/fairlead/test/testenv"
)

// The namespaces. In both, requests are signed once they are approved.
const (
	approving = "mesh"
	strict    = "strict"
	// resources is where ClusterIssuers' Secrets are.
	resources = "cert-manager"
)

// cluster is what all tests share.
var cluster struct {
	kubernetes kubernetes.Interface
	cm         cmclient.Interface
	dynamic    dynamic.Interface
	server     *testenv.APIServer
}

func TestMain(m *testing.M) {
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (status int, err error) {
	server, err := testenv.StartAPIServer()
	if err != nil {
		return 0, err
	}
	defer func() {
		if stopped := server.Stop(); err == nil {
			err = stopped
		}
	}()
	config := *server.Config
	config.QPS = -1
	cluster.server = server
	cluster.kubernetes = kubernetes.NewForConfigOrDie(&config)
	cluster.cm = cmclient.NewForConfigOrDie(&config)
	cluster.dynamic = dynamic.NewForConfigOrDie(&config)
	for _, name := range []string{approving, strict, resources} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
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
	if _, err := envtest.InstallCRDs(&config, envtest.CRDInstallOptions{Paths: []string{crds}, ErrorIfPathMissing: true}); err != nil {
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
	for namespace, names := range map[string][]string{
		"":        {issuers.ControllerName, clusterissuers.ControllerName, caRequests.CRControllerName, selfSignedRequests.CRControllerName},
		approving: {approver.ControllerName},
	} {
		options := controller.ContextOptions{Kubeconfig: cluster.server.Kubeconfig, Namespace: namespace}
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
