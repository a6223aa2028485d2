//go:build netns

package net

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace that lives as long as its file is open.
type namespace struct {
	file *os.File
	// withoutIPv6 lets programs that are started find a kernel that has none, as with
	// the kernel's parameter ipv6.disable=1.
	withoutIPv6 bool
}

// user is whom a connection or a process belongs to.
type user struct{ uid, gid uint32 }

var (
	root        = user{0, 0}
	application = user{1000, 1000}
	// proxy is the user that the agent takes Envoy for, unless told otherwise.
	proxy = user{1337, 1337}
)

func newNamespace() *namespace {
	GinkgoHelper()
	n := &namespace{}
	var err error
	onThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			n.file, err = os.Open("/proc/thread-self/ns/net")
		}
	})
	Expect(err).NotTo(HaveOccurred(), "a network namespace of our own")
	DeferCleanup(n.file.Close)
	n.ip("link set lo up")
	return n
}

// onThread calls f on a thread that ends with it, so that f may do what it likes to it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer GinkgoRecover()
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		f()
	}()
	<-done
}

// as calls f in the namespace, as a user. Sockets that f makes stay in the namespace and
// belong to the user; the kernel keeps both of each thread, so other threads are not
// concerned.
func (n *namespace) as(u user, f func() error) error {
	var err error
	onThread(func() {
		if err = unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		for _, call := range []struct {
			number uintptr
			id     uint32
		}{{unix.SYS_SETRESGID, u.gid}, {unix.SYS_SETRESUID, u.uid}} {
			if _, _, errno := unix.RawSyscall(call.number, uintptr(call.id), uintptr(call.id), uintptr(call.id)); errno != 0 {
				err = fmt.Errorf("become user %d, group %d: %w", u.uid, u.gid, errno)
				return
			}
		}
		err = f()
	})
	return err
}

// start starts a process in the namespace, as a user.
func (n *namespace) start(u user, command *exec.Cmd) error {
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.uid, Gid: u.gid}}
	return n.as(root, func() error {
		if n.withoutIPv6 {
			if err := refuseIPv6(); err != nil {
				return err
			}
		}
		return command.Start()
	})
}

// refuseIPv6 fails socket(2) for IPv6 on this thread, and in what it starts.
func refuseIPv6() error {
	const instruction, equal, end = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	// Offsets are those of struct seccomp_data: the call's number, its first argument.
	program := []unix.SockFilter{
		{Code: instruction, K: 0},
		{Code: equal, K: unix.SYS_SOCKET, Jf: 3},
		{Code: instruction, K: 16},
		{Code: equal, K: unix.AF_INET6, Jf: 1},
		{Code: end, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)},
		{Code: end, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0)
	runtime.KeepAlive(program)
	if err != nil {
		return fmt.Errorf("filter system calls: %w", err)
	}
	return nil
}

// run runs a program in the namespace to its end, and returns what it printed.
func (n *namespace) run(u user, program string, arguments ...string) (string, error) {
	var output strings.Builder
	command := exec.Command(program, arguments...)
	command.Stdout, command.Stderr = &output, &output
	if err := n.start(u, command); err != nil {
		return "", err
	}
	err := command.Wait()
	return output.String(), err
}

// ip runs ip(8) in the namespace.
func (n *namespace) ip(arguments string) {
	GinkgoHelper()
	output, err := n.run(root, "ip", strings.Fields(arguments)...)
	Expect(err).NotTo(HaveOccurred(), "ip %s: %s", arguments, output)
}

// redirect runs "fairlead-agent redirect" in the namespace, which is to succeed.
func (n *namespace) redirect(flags ...string) string {
	GinkgoHelper()
	output, err := n.run(root, agent, append([]string{"redirect"}, flags...)...)
	Expect(err).NotTo(HaveOccurred(), "fairlead-agent redirect %v: %s", flags, output)
	return output
}

// newPod returns a Pod and what is outside of it, joined by eth0 (10.77.0.2 and fd77::2
// in the Pod) and net1 (10.78.0.2). Outside, 10.88.0.1, 10.96.0.10, fd88::1 and fd96::10
// answer as well.
func newPod() (pod, outside *namespace) {
	GinkgoHelper()
	pod, outside = newNamespace(), newNamespace()
	for i, name := range []string{"eth0", "net1"} {
		pod.ip(fmt.Sprintf("link add %s type veth peer name %s netns /proc/%d/fd/%d", name, name, os.Getpid(), outside.file.Fd()))
		for last, n := range []*namespace{outside, pod} {
			n.ip(fmt.Sprintf("addr add 10.%d.0.%d/24 dev %s", 77+i, last+1, name))
			n.ip(fmt.Sprintf("addr add fd%d::%d/64 dev %s nodad", 77+i, last+1, name))
			n.ip("link set " + name + " up")
		}
	}
	for _, address := range []string{"10.88.0.1/32", "10.96.0.10/32", "10.96.0.20/32", "fd88::1/128", "fd96::10/128"} {
		outside.ip("addr add " + address + " dev lo")
	}
	pod.ip("route add default via 10.77.0.1")
	pod.ip("-6 route add default via fd77::1")
	return pod, outside
}
