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

// kubectl runs the real kubectl against the suite's API server, in namespace default unless
// told otherwise, and gives the words of each line that it prints.
func kubectl(args ...string) [][]string {
	GinkgoHelper()
	command := exec.Command(filepath.Join(kubernetesPrograms(), "kubectl"),
		append([]string{"--kubeconfig", kubeconfig(), "--namespace", "default"}, args...)...)
	output, err := command.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "kubectl %v: %s", args, output)
	var lines [][]string
	for line := range strings.Lines(string(output)) {
		if words := strings.Fields(line); len(words) > 0 {
			lines = append(lines, words)
		}
	}
	return lines
}

// kubeconfig writes an administrator's kubeconfig to a file that the running spec owns. Each
// call makes a new folder, so that kubectl's discovery cache is never an older spec's.
func kubeconfig() string {
	GinkgoHelper()
	user, err := testEnv.AddUser(envtest.User{Name: "tester", Groups: []string{"system:masters"}}, nil)
	Expect(err).NotTo(HaveOccurred())
	data, err := user.KubeConfig()
	Expect(err).NotTo(HaveOccurred())
	file := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(os.WriteFile(file, data, 0o600)).To(Succeed())
	return file
}
