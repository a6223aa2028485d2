package v1alpha1_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// kubeconfig is the file with an administrator's access to the suite's API server, in a
// folder that the suite owns. kubectl's discovery cache goes there too, so that it is never
// an older run's.
var kubeconfig string

// writeKubeconfig makes the file; the suite calls it once the API server is there.
func writeKubeconfig() {
	GinkgoHelper()
	user, err := testEnv.AddUser(envtest.User{Name: "tester", Groups: []string{"system:masters"}}, nil)
	Expect(err).NotTo(HaveOccurred())
	data, err := user.KubeConfig()
	Expect(err).NotTo(HaveOccurred())
	kubeconfig = filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(os.WriteFile(kubeconfig, data, 0o600)).To(Succeed())
}

// kubectl runs the real kubectl against the suite's API server, in namespace default unless
// told otherwise, and gives the words of each line that it prints.
func kubectl(args ...string) [][]string {
	GinkgoHelper()
	output, err := kubectlCommand(args...).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "kubectl %v: %s", args, output)
	var lines [][]string
	for line := range strings.Lines(string(output)) {
		if words := strings.Fields(line); len(words) > 0 {
			lines = append(lines, words)
		}
	}
	return lines
}

func kubectlCommand(args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(kubernetesPrograms(), "kubectl"),
		append([]string{"--kubeconfig", kubeconfig, "--cache-dir", filepath.Dir(kubeconfig)}, args...)...)
}
