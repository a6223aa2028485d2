package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/test/testenv"
)

// mesh is a mesh on this machine, in a data folder of its own. The manager is a process
// of the test's, so that it can be killed: to `fairlead up` the death of a child is an
// error that ends everything.
type mesh struct {
	data        string
	up, manager *gexec.Session
	managerArgs []string
	client.WithWatch
}

// programs returns the folder of Fairlead's own programs.
func programs() string { return filepath.Join(testenv.Root(), "bin") }

// startMesh runs `fairlead up` and the manager until the suite ends.
func startMesh() *mesh {
	GinkgoHelper()
	data, err := testenv.SocketDir()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(os.RemoveAll, data)
	DeferCleanup(func() {
		Eventually(func() []string { return running(data) }).Should(BeEmpty(), "nothing of the mesh is left running")
	})
	m := &mesh{data: data}
	// The usual ports are for the suite of `up` itself, which may run beside this one and
	// counts on finding its port free after a restart.
	m.up = launch("up", exec.Command(filepath.Join(programs(), "fairlead"), "up", "--no-manager", "--data", data,
		"--api-port", strconv.Itoa(freePort())))
	DeferCleanup(func() { stop(m.up) })
	Eventually(m.up).Should(gbytes.Say(`to run one: fairlead-manager (.*)\n`), "the API server starts")
	said := regexp.MustCompile(`to run one: fairlead-manager (.*)\n`).FindSubmatch(m.up.Out.Contents())
	m.managerArgs = strings.Fields(string(said[1]))
	Eventually(m.up).Should(gbytes.Say("Fairlead is up"), "the controllers start")
	m.startManager()
	DeferCleanup(func() { stop(m.manager) })
	m.connect()
	return m
}

// startManager runs the manager; it serves proxies once it has read every object.
func (m *mesh) startManager() {
	GinkgoHelper()
	m.manager = launch("manager", exec.Command(filepath.Join(programs(), "fairlead-manager"), m.managerArgs...))
}

// connect makes the client that specs apply objects with.
func (m *mesh) connect() {
	GinkgoHelper()
	config, err := clientcmd.BuildConfigFromFlags("", m.kubeconfig())
	Expect(err).NotTo(HaveOccurred())
	// What is tried is not the client's own rate limit.
	config.QPS, config.Burst = 1000, 1000
	scheme := clientscheme.Scheme
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	m.WithWatch, err = client.NewWithWatch(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
}

func (m *mesh) kubeconfig() string { return filepath.Join(m.data, "kubeconfig") }

// kubectl runs the real kubectl to its end.
func (m *mesh) kubectl(args ...string) *gexec.Session {
	GinkgoHelper()
	folder, err := testenv.KubernetesPrograms()
	Expect(err).NotTo(HaveOccurred())
	command := exec.Command(filepath.Join(folder, "kubectl"), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+m.kubeconfig())
	return launch("kubectl", command)
}

// thread starts processes: a child's parent-death signal is sent when the thread that
// made it ends (prctl(2)), and Go ends threads as it likes.
var thread = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

// launch starts a program in a process group of its own. It is told to end when this
// process does, however that comes about.
func launch(name string, command *exec.Cmd) *gexec.Session {
	GinkgoHelper()
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	output := gexec.NewPrefixedWriter("["+name+"] ", GinkgoWriter)
	type started struct {
		session *gexec.Session
		err     error
	}
	result := make(chan started)
	thread() <- func() {
		session, err := gexec.Start(command, output, output)
		result <- started{session, err}
	}
	s := <-result
	Expect(s.err).NotTo(HaveOccurred(), "run `make build envoy kube`")
	return s.session
}

// stop has a program end as Ctrl-C would.
func stop(session *gexec.Session) {
	GinkgoHelper()
	session.Terminate()
	Eventually(session).Should(gexec.Exit(0), "it stops when it is told to")
}

// running lists the processes that name the data folder in their command lines.
func running(data string) []string {
	var found []string
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range commands {
		// It fails for those that end meanwhile.
		if words, err := os.ReadFile(path); err == nil && strings.Contains(string(words), data) {
			found = append(found, fmt.Sprintf("%s %s", filepath.Dir(path), strings.ReplaceAll(string(words), "\x00", " ")))
		}
	}
	return found
}

// freePort returns a port of 127.0.0.1 that nobody listens on.
func freePort() int {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer func() { Expect(listener.Close()).To(Succeed()) }()
	return listener.Addr().(*net.TCPAddr).Port
}
