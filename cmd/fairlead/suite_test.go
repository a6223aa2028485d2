package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"fairlead.dev/fairlead/test/testenv"
)

// patience is for a busy machine; what is awaited usually takes a tenth of it.
const patience = 60 * time.Second

// bin is the folder in which the programs were put together, as `make build` does.
var bin string

func TestFairlead(t *testing.T) {
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(25 * time.Millisecond)
	RegisterFailHandler(Fail)
	RunSpecs(t, "fairlead up and fairlead run, with the real programs")
}

// TestMain lets the test's own binary be the command of a workload.
func TestMain(m *testing.M) {
	if os.Getenv("FAIRLEAD_TEST_APP") != "" {
		app()
		return
	}
	os.Exit(m.Run())
}

// app is an HTTP server that tells who it is and what it was told, and ends cleanly.
func app() {
	told := map[string]string{}
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		told[name] = value
	}
	server := http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), ReadHeaderTimeout: time.Second}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(answer{Pod: told["POD_NAME"], Arguments: os.Args[1:], Environment: told})
	})
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGUSR1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if s := <-end; s == syscall.SIGUSR1 {
			os.Exit(7)
		}
		_ = server.Shutdown(context.Background())
	}()
	fmt.Println("app up")
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Println(err)
		os.Exit(1)
	}
	<-ended
}

// answer is what app says.
type answer struct {
	Pod         string
	Arguments   []string
	Environment map[string]string
}

var _ = BeforeSuite(func() {
	kubernetes, err := testenv.KubernetesPrograms()
	Expect(err).NotTo(HaveOccurred())
	envoy, err := testenv.Envoy()
	Expect(err).NotTo(HaveOccurred())

	bin, err = os.MkdirTemp("", "fl-bin-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(os.RemoveAll, bin)
	// For the spec that runs as another user.
	Expect(os.Chmod(bin, 0o755)).To(Succeed())
	for program, source := range map[string]string{"fairlead": "./cmd/fairlead", "fairlead-agent": "./agent", "fairlead-manager": "."} {
		Expect(testenv.Build(filepath.Join(bin, program), source)).To(Succeed())
	}
	Expect(os.Symlink(envoy, filepath.Join(bin, "envoy"))).To(Succeed())
	Expect(os.Symlink(kubernetes, filepath.Join(bin, "k8s"))).To(Succeed())
})

// newData returns a data folder that is removed at the end, and checks that nothing that
// had to do with it is running then.
func newData() string {
	GinkgoHelper()
	data, err := os.MkdirTemp("", "fl-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		Eventually(processesOf).WithArguments(data).Should(BeEmpty(), "nothing is left running")
		Expect(os.RemoveAll(data)).To(Succeed())
	})
	return data
}

// start runs fairlead with a folder as its data, until the end of the spec at most.
func start(data string, args ...string) *gexec.Session {
	GinkgoHelper()
	session := launch(nil, data, args...)
	DeferCleanup(end, session)
	return session
}

// launch runs fairlead as the user, or as our own; the caller ends it.
func launch(user *syscall.Credential, data string, args ...string) *gexec.Session {
	GinkgoHelper()
	command := exec.Command(filepath.Join(bin, "fairlead"), args...)
	command.Env = append(os.Environ(), "FAIRLEAD_TEST_APP=yes", "FAIRLEAD_DATA="+data)
	// A group of its own, as on a terminal.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: user}
	command.Dir = "/"
	session, err := gexec.Start(command, GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	return session
}

// end stops a session that still runs.
func end(session *gexec.Session) {
	GinkgoHelper()
	session.Terminate()
	select {
	case <-session.Exited:
	case <-time.After(patience):
		session.Kill()
		Eventually(session).Should(gexec.Exit())
		Fail("did not end: " + strings.Join(session.Command.Args, " "))
	}
}

// processesOf returns the command lines of all processes that name the data folder, by
// process id: all of its programs do.
func processesOf(data string) map[string]string {
	found := map[string]string{}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	Expect(err).NotTo(HaveOccurred())
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		line := strings.ReplaceAll(string(content), "\x00", " ")
		if strings.Contains(line, data+"/") {
			found[filepath.Base(filepath.Dir(file))] = line
		}
	}
	return found
}

// process returns the id of the one process of the data folder with that program's name.
func process(data, program string) int {
	GinkgoHelper()
	var pid int
	for id, line := range processesOf(data) {
		name, _, _ := strings.Cut(line, " ")
		if filepath.Base(name) == program {
			Expect(pid).To(BeZero(), "there are two of %s", program)
			_, err := fmt.Sscan(id, &pid)
			Expect(err).NotTo(HaveOccurred())
		}
	}
	Expect(pid).NotTo(BeZero(), "there is no %s", program)
	return pid
}

// kubectl runs the real one against the data folder's cluster.
func kubectl(data string, args ...string) (string, error) {
	return kubectlWith(filepath.Join(data, "kubeconfig"), args...)
}

func kubectlWith(kubeconfig string, args ...string) (string, error) {
	command := exec.Command(filepath.Join(bin, "k8s", "kubectl"), append([]string{"--kubeconfig", kubeconfig, "--cache-dir", filepath.Join(bin, "kubectl-cache"), "--request-timeout=20s"}, args...)...)
	output, err := command.CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

// mustKubectl is kubectl where it must succeed.
func mustKubectl(data string, args ...string) string {
	GinkgoHelper()
	output, err := kubectl(data, args...)
	Expect(err).NotTo(HaveOccurred(), "kubectl %v: %s", args, output)
	return output
}
