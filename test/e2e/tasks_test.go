package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	gomegatypes "github.com/onsi/gomega/types"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/test/testenv"
)

// tasks is where the pages are.
var tasks = filepath.Join(testenv.Root(), "docs", "tasks")

// block is the commands of a page, with what they print.
var block = regexp.MustCompile("(?s)```sh\n(.*?)```\n```text\n(.*?)```")

// The pages of docs/tasks, in a shell of the mesh as they say: what each command prints is what
// stands below it.
var _ = Describe("The page of a task", Ordered, func() {
	pages, err := filepath.Glob(filepath.Join(tasks, "*.md"))
	if err != nil {
		panic(err)
	}

	BeforeAll(func() {
		session := fairlead.kubectl("apply", "-f", filepath.Join(tasks, "services.yaml"))
		Eventually(session).Should(gexec.Exit(0))
		DeferCleanup(func() {
			Eventually(fairlead.kubectl("delete", "-f", filepath.Join(tasks, "services.yaml"))).Should(gexec.Exit(0))
		})
		for _, name := range []string{"reviews-v1", "reviews-v2", "ratings-v1"} {
			service, version, _ := strings.Cut(name, "-")
			run(name, "--labels", "app="+service+",version="+version, "--port", "9080", "--",
				program("demo-app"), "--service", service, "--version", version)
		}
		ingress := run("ingress", "--gateway", "--labels", "istio=ingressgateway")
		var before, after envoy.Status
		Expect(ingress.agent(&before)).To(Succeed())
		DeferCleanup(func() {
			Expect(ingress.agent(&after)).To(Succeed())
			Expect(after.PID).To(Equal(before.PID), "whatever the pages change, the gateway's Envoy is the same")
		})
	})

	for _, page := range pages {
		name := filepath.Base(page)
		text, err := os.ReadFile(page)
		if err != nil {
			panic(err)
		}
		blocks := block.FindAllStringSubmatch(string(text), -1)
		if len(blocks) == 0 {
			continue
		}
		It(name+" says what happens", func() {
			outputs := shell(blocks)
			for i, block := range blocks {
				Expect(outputs[i]).To(printed(block[2]), "%s", block[1])
			}
		})
	}
})

// run starts a workload until the pages end, and waits until it is ready.
func run(name string, args ...string) *workload {
	GinkgoHelper()
	session := launch(name, exec.Command(program("fairlead"), append([]string{"run", "--data", fairlead.data, "--name", name}, args...)...))
	DeferCleanup(func() { session.Terminate().Wait(patience) })
	w := &workload{name: name, mesh: fairlead, session: session}
	w.awaitReady()
	return w
}

func program(name string) string { return filepath.Join(programs(), name) }

// shell runs the commands of a page as a workload of the mesh, and returns what each block prints.
func shell(blocks [][]string) []string {
	GinkgoHelper()
	kubernetes, err := testenv.KubernetesPrograms()
	Expect(err).NotTo(HaveOccurred())
	folder, script := GinkgoT().TempDir(), ""
	output := func(i int) string { return filepath.Join(folder, strconv.Itoa(i)) }
	for i, block := range blocks {
		script += "exec >" + output(i) + "\n" + block[1]
	}
	command := exec.Command(program("fairlead"), "run", "--data", fairlead.data, "--name", "shell", "--labels", "app=shell", "--",
		"bash", "-euo", "pipefail", "-c", script)
	command.Dir = testenv.Root()
	command.Env = append(os.Environ(), "KUBECONFIG="+fairlead.kubeconfig(), "PATH="+kubernetes+":"+os.Getenv("PATH"))
	session := launch("shell", command)
	Eventually(session, 2*patience).Should(gexec.Exit(0), "%s", script)
	outputs := make([]string, len(blocks))
	for i := range blocks {
		text, err := os.ReadFile(output(i))
		Expect(err).NotTo(HaveOccurred())
		outputs[i] = string(text)
	}
	return outputs
}

// printed matches what a page says, in which "…" stands for anything within a line.
func printed(expected string) gomegatypes.GomegaMatcher {
	return MatchRegexp("^" + strings.ReplaceAll(regexp.QuoteMeta(expected), "…", ".*") + "$")
}
