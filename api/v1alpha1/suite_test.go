package v1alpha1_test

import (
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	meshv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

var (
	testEnv   *envtest.Environment
	k8sClient client.Client
)

func TestAPI(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "The kinds at a real API server")
}

var _ = BeforeSuite(func() {
	testEnv = &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
		BinaryAssetsDirectory: kubernetesPrograms(),
	}
	cfg, err := testEnv.Start()
	Expect(err).NotTo(HaveOccurred(), "the API server starts and takes the CRDs")
	DeferCleanup(func() { Expect(testEnv.Stop()).To(Succeed()) })
	writeKubeconfig()

	scheme := runtime.NewScheme()
	Expect(meshv1alpha1.AddToScheme(scheme)).To(Succeed())
	k8sClient, err = client.New(cfg, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
})

// kubernetesPrograms finds the folder with the real etcd, kube-apiserver and kubectl.
func kubernetesPrograms() string {
	dir := os.Getenv("KUBEBUILDER_ASSETS")
	if dir == "" {
		dir = filepath.Join("..", "..", "bin", "k8s")
	}
	dir, err := filepath.Abs(dir)
	Expect(err).NotTo(HaveOccurred())
	_, err = os.Stat(filepath.Join(dir, "kube-apiserver"))
	Expect(err).NotTo(HaveOccurred(), "no kube-apiserver in %s: run `make kube`, or set KUBEBUILDER_ASSETS", dir)
	return dir
}
