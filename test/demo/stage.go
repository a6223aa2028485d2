package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
)

const (
	// startTimeout is many times what anything here takes to start.
	startTimeout = 2 * time.Minute
	// stopGrace is how long a program has to end everything of its own.
	stopGrace = 30 * time.Second
)

// workload is one of the application's programs.
type workload struct {
	service, version, calls string
}

// workloads are front -> reviews -> ratings, with three versions of reviews.
var workloads = []workload{
	{"front", "v1", "http://reviews:9080/"},
	{"reviews", "v1", "http://ratings:9080/"},
	{"reviews", "v2", "http://ratings:9080/"},
	{"reviews", "v3", "http://ratings:9080/"},
	{"ratings", "v1", ""},
}

func (w workload) name() string { return w.service + "-" + w.version }

// args is what a person would type to start it.
func (w workload) args() []string {
	args := []string{"run", "--name", w.name(), "--labels", "app=" + w.service + ",version=" + w.version,
		"--service-account", w.service, "--port", "9080", "--", "demo-app", "--service", w.service, "--version", w.version}
	if w.calls != "" {
		args = append(args, "--calls", w.calls)
	}
	return args
}

// stage is what the story plays on: the mesh, the application, and the commands.
type stage struct {
	out        io.Writer
	root, data string
	env        []string
	// metrics is where the manager tells its figures.
	metrics string
	// processes in the order of their start.
	processes []*process
}

func newStage(out io.Writer) (*stage, error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"fairlead", "fairlead-manager", "fairlead-agent", "envoy", "demo-app", "k8s/kubectl"} {
		if _, err := os.Stat(filepath.Join(root, "bin", program)); err != nil {
			return nil, fmt.Errorf("%w: run `make demo`, which builds what is missing", err)
		}
	}
	data, err := os.MkdirTemp("", "fairlead-demo-")
	if err != nil {
		return nil, err
	}
	s := &stage{out: out, root: root, data: data}
	// Later ones win. The application finds its proxy by what `fairlead run` sets.
	s.env = append(os.Environ(),
		"PATH="+filepath.Join(root, "bin")+":"+filepath.Join(root, "bin", "k8s")+":"+os.Getenv("PATH"),
		"FAIRLEAD_DATA="+data, "KUBECONFIG="+s.kubeconfig())
	return s, nil
}

func (s *stage) kubeconfig() string { return filepath.Join(s.data, "kubeconfig") }

// hints is what a reader needs to run the printed commands.
func (s *stage) hints() string {
	return fmt.Sprintf("  cd %s\n  export PATH=$PWD/bin:$PWD/bin/k8s:$PATH FAIRLEAD_DATA=%s KUBECONFIG=%s", s.root, s.data, s.kubeconfig())
}

func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.out, format+"\n", args...)
}

// command makes a command of the repository's root with the stage's environment.
func (s *stage) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	path := filepath.Join(s.root, "bin", program)
	if program == "kubectl" {
		path = filepath.Join(s.root, "bin", "k8s", program)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = s.root, s.env
	return cmd
}

// kubectl prints a command, runs it, and prints what it says.
func (s *stage) kubectl(ctx context.Context, args ...string) (string, error) {
	s.say("$ %s", line("kubectl", args))
	cmd := s.command(ctx, "kubectl", args...)
	// Ctrl-C is for the demo; its context ends the command.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output, err := cmd.CombinedOutput()
	text := strings.TrimRight(string(output), "\n")
	if text != "" {
		s.say("%s", text)
	}
	if err != nil && ctx.Err() == nil {
		return text, fmt.Errorf("%s: %w", line("kubectl", args), err)
	}
	return text, ctx.Err()
}

// line writes a command as a person would type it.
func line(program string, args []string) string {
	words := []string{program}
	for _, arg := range args {
		if strings.ContainsAny(arg, ` "'{}()[]$?*;&|<>\`) {
			arg = "'" + arg + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// up starts the mesh and returns when it is there.
func (s *stage) up(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.metrics = fmt.Sprintf("127.0.0.1:%d", port)
	args := []string{"up", "--", "--metrics-bind-address=" + s.metrics}
	s.say("$ %s &", line("fairlead", args))
	up := make(chan struct{})
	telling := true
	p, err := start("fairlead up", s.command(context.Background(), "fairlead", args...), func(text string) {
		if !telling {
			return
		}
		// Its advice on what to do next is what the demo does.
		if strings.HasPrefix(text, "Fairlead is up") {
			telling = false
			close(up)
			return
		}
		if text != "" {
			s.say("%s", text)
		}
	})
	if err != nil {
		return err
	}
	s.processes = append(s.processes, p)
	select {
	case <-up:
		return nil
	case <-p.done:
		return p.exit()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(startTimeout):
		return fmt.Errorf("fairlead up was not ready within %s", startTimeout)
	}
}

// runWorkloads starts the application, each program with its agent and its Envoy.
func (s *stage) runWorkloads() error {
	for _, w := range workloads {
		s.say("$ %s &", line("fairlead", w.args()))
		p, err := start("fairlead run --name "+w.name(), s.command(context.Background(), "fairlead", w.args()...), nil)
		if err != nil {
			return err
		}
		s.processes = append(s.processes, p)
	}
	return nil
}

// ended returns the exit of the first program that is no longer there.
func (s *stage) ended() error {
	for _, p := range s.processes {
		select {
		case <-p.done:
			return p.exit()
		default:
		}
	}
	return nil
}

// until asks again and again whether something is so; it ends early when one of the
// demo's programs does.
func (s *stage) until(ctx context.Context, what string, is func() bool) error {
	deadline := time.Now().Add(startTimeout)
	for !is() {
		if err := s.ended(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %s", what, startTimeout)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// watchOver returns when the demo is told to end, or when one of its programs does.
func (s *stage) watchOver(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.ended(); err != nil {
			return err
		}
		_ = pause(ctx, 500*time.Millisecond)
	}
	return nil
}

// client returns a client of the mesh's API server.
func (s *stage) client() (client.WithWatch, error) {
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig())
	if err != nil {
		return nil, err
	}
	// The demo measures the mesh, not its own rate limit.
	config.QPS, config.Burst = 1000, 1000
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	return client.NewWithWatch(config, client.Options{Scheme: scheme})
}

// address returns where a workload is served on this machine.
func (s *stage) address(ctx context.Context, c client.Client, name string) (string, error) {
	var pod corev1.Pod
	if err := c.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, &pod); err != nil {
		return "", err
	}
	address, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil {
		return "", fmt.Errorf("pod %s: status.podIP: %w", name, err)
	}
	return netip.AddrPortFrom(mesh.LoopbackAddress(address), 9080).String(), nil
}

// stop ends what was started, the last one first but the workloads side by side, removes
// the data folder, and tells if anything went on running.
func (s *stage) stop(keep bool) error {
	var errs []error
	results := make(chan error)
	mesh, apps := s.processes, []*process(nil)
	if len(mesh) > 0 {
		mesh, apps = mesh[:1], mesh[1:]
	}
	for _, group := range [][]*process{apps, mesh} {
		for _, p := range group {
			go func() { results <- p.stop(stopGrace) }()
		}
		for range group {
			errs = append(errs, <-results)
		}
	}
	// What is killed takes a moment to be gone.
	deadline := time.Now().Add(5 * time.Second)
	left := descendants(s.data)
	for len(left) > 0 && time.Now().Before(deadline) {
		_ = pause(context.Background(), 50*time.Millisecond)
		left = descendants(s.data)
	}
	for _, one := range left {
		errs = append(errs, fmt.Errorf("%s (process %d) was left running and is killed now", one.program, one.pid))
		_ = syscall.Kill(one.pid, syscall.SIGKILL)
	}
	if keep {
		s.say("The data folder is kept: %s", s.data)
	} else {
		errs = append(errs, os.RemoveAll(s.data))
	}
	return errors.Join(errs...)
}

// printLogs shows the last lines of every program, for a reader who has to find out what
// went wrong.
func (s *stage) printLogs() {
	for _, p := range s.processes {
		if text := p.lines.String(); text != "" {
			s.say("\n-- last lines of %s\n%s", p.name, text)
		}
	}
	// The programs of `fairlead up` log to files; when one of them ends, `up` tells why.
	if content, err := os.ReadFile(filepath.Join(s.data, "logs", "fairlead-manager.log")); err == nil {
		lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
		s.say("\n-- last lines of the manager\n%s", strings.Join(lines[max(0, len(lines)-tailLength):], "\n"))
	}
}

// largest returns the resident bytes of the largest running program of a name, and how
// many there are.
func (s *stage) largest(program string) (int64, int) {
	var sizes []int64
	for _, one := range descendants(s.data) {
		if one.program == program {
			sizes = append(sizes, one.resident)
		}
	}
	if len(sizes) == 0 {
		return 0, 0
	}
	return slices.Max(sizes), len(sizes)
}
