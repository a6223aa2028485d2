package main

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
)

// up starts `fairlead up` and waits until it is. It lives until the end of the spec.
func up(data string, args ...string) *gexec.Session {
	GinkgoHelper()
	session := launchUp(data, args...)
	DeferCleanup(end, session)
	return session
}

// launchUp is up where the caller ends it.
func launchUp(data string, args ...string) *gexec.Session {
	GinkgoHelper()
	session := launch(nil, data, append([]string{"up"}, args...)...)
	Eventually(session).Should(gbytes.Say("Fairlead is up"))
	return session
}

// nobody is a user without any rights of its own.
func nobody() *syscall.Credential { return &syscall.Credential{Uid: 65534, Gid: 65534} }

var _ = Describe("fairlead up", func() {
	Describe("while it runs", Ordered, func() {
		var data string
		var session *gexec.Session
		BeforeAll(func() {
			data = newData()
			session = launchUp(data)
		})
		AfterAll(func() { end(session) })

		It("has a Node, the mesh's kinds, and what to do next", func() {
			Expect(mustKubectl(data, "get", "node", "fairlead", "-o",
				`jsonpath={.status.conditions[?(@.type=="Ready")].status} {.metadata.labels.topology\.kubernetes\.io/zone} {.spec.taints}`)).To(Equal("True local"))
			Expect(mustKubectl(data, "get", "virtualservices,destinationrules", "-A")).To(Equal("No resources found"))
			Expect(string(session.Out.Contents())).To(ContainSubstring("export KUBECONFIG=" + data + "/kubeconfig"))
		})

		It("runs the controllers that a mesh needs", func() {
			mustKubectl(data, "create", "namespace", "fleeting")
			Eventually(func() (string, error) {
				return kubectl(data, "-n", "fleeting", "get", "serviceaccount/default", "configmap/kube-root-ca.crt", "-o", "name")
			}).
				Should(Equal("serviceaccount/default\nconfigmap/kube-root-ca.crt"))
			mustKubectl(data, "-n", "fleeting", "create", "service", "clusterip", "headed", "--tcp=80:8080")
			Eventually(func() (string, error) { return kubectl(data, "-n", "fleeting", "get", "endpointslices", "-o", "name") }).
				Should(ContainSubstring("endpointslice.discovery.k8s.io/headed-"))
			mustKubectl(data, "delete", "namespace", "fleeting", "--wait=false")
			Eventually(func() string { output, _ := kubectl(data, "get", "namespace", "fleeting"); return output }).
				Should(ContainSubstring("NotFound"), "the namespace controller empties it")
		})

		It("lets in nobody without a certificate", func() {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
			defer client.CloseIdleConnections()
			for _, path := range []string{"/api", "/healthz", "/version"} {
				response, err := client.Get(mustKubectl(data, "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}") + path)
				Expect(err).NotTo(HaveOccurred())
				Expect(response.Body.Close()).To(Succeed())
				Expect(response.StatusCode).To(Equal(http.StatusUnauthorized), path)
			}
		})

		It("gives the manager its own rights and no more", func() {
			manager := filepath.Join(data, "pki", "fairlead-manager.kubeconfig")
			output, err := kubectlWith(manager, "get", "virtualservices,services,pods,nodes", "-A", "-o", "name")
			Expect(err).NotTo(HaveOccurred(), output)
			for _, forbidden := range [][]string{{"get", "configmaps", "-A"}, {"get", "roles", "-A"}, {"delete", "service", "kubernetes"}, {"create", "token", "default"}} {
				output, err := kubectlWith(manager, forbidden...)
				Expect(err).To(HaveOccurred(), output)
				Expect(output).To(ContainSubstring("is forbidden: User"))
			}
		})

		It("listens on loopback only, and keeps its files to itself", func() {
			for pid := range processesOf(data) {
				for _, address := range listeners(pid) {
					Expect(address.IsLoopback()).To(BeTrue(), "process %s listens on %s", pid, address)
				}
			}
			Expect(filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := entry.Info()
				if err == nil && (entry.IsDir() || info.Mode().IsRegular()) {
					Expect(info.Mode().Perm()&0o077).To(BeZero(), "%s: %s", path, info.Mode())
				}
				return err
			})).To(Succeed())
		})

		It("refuses a second one on the same folder, and goes on", func() {
			second := start(data, "up")
			Eventually(second).Should(gexec.Exit(1))
			Expect(second.Err).To(gbytes.Say(fmt.Sprintf(`another .fairlead up. \(process %d\) runs on the data folder %s: .* --data`, session.Command.Process.Pid, data)))
			mustKubectl(data, "get", "nodes")
		})

		It("runs beside another one on another folder", func() {
			other := newData()
			up(other)
			Expect(mustKubectl(other, "get", "nodes", "-o", "name")).To(Equal("node/fairlead"))
			Expect(mustKubectl(data, "get", "nodes", "-o", "name")).To(Equal("node/fairlead"))
		})

		It("stops cleanly at Ctrl-C, and starts again with the same objects", func() {
			mustKubectl(data, "create", "service", "clusterip", "kept", "--tcp=80:8080")
			before := mustKubectl(data, "get", "service", "kept", "-o", "jsonpath={.metadata.uid} {.spec.clusterIP}")
			server := mustKubectl(data, "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
			session.Interrupt()
			Eventually(session).Should(gexec.Exit(0))
			Expect(processesOf(data)).To(BeEmpty())
			Expect(string(session.Out.Contents())).NotTo(ContainSubstring("was killed"))

			session = launchUp(data)
			Expect(mustKubectl(data, "get", "service", "kept", "-o", "jsonpath={.metadata.uid} {.spec.clusterIP}")).To(Equal(before))
			Expect(mustKubectl(data, "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")).To(Equal(server), "the port stays")
		})

		It("leaves nothing running when it is killed, and starts again", func() {
			session.Kill()
			Eventually(session).Should(gexec.Exit())
			Eventually(processesOf).WithArguments(data).Should(BeEmpty())
			session = launchUp(data)
			mustKubectl(data, "get", "service", "kept")
		})
	})

	DescribeTable("ends with a clear error when one of its programs does", func(program string) {
		data := newData()
		session := up(data)
		Expect(syscall.Kill(process(data, program), syscall.SIGKILL)).To(Succeed())
		Eventually(session).Should(gexec.Exit(1))
		Expect(string(session.Err.Contents())).To(ContainSubstring(program + " was ended"))
		Expect(session.Err).To(gbytes.Say(program + ` was ended by signal 9 \(SIGKILL\); its last lines:\n  .+\n`))
		Expect(session.Err).To(gbytes.Say("all of them are in " + data + "/logs/" + program + ".log"))
		Expect(processesOf(data)).To(BeEmpty())
	},
		Entry(nil, "etcd"),
		Entry(nil, "kube-apiserver"),
		Entry(nil, "kube-controller-manager"),
		Entry(nil, "fairlead-manager"),
	)

	It("ends with a program's own words when that cannot start", func() {
		data := newData()
		session := start(data, "up", "--", "--no-such-flag")
		Eventually(session).Should(gexec.Exit(1))
		Expect(session.Err).To(gbytes.Say(`fairlead-manager ended by itself with exit status 2; its last lines:`))
		Expect(session.Err).To(gbytes.Say(`no-such-flag`))
		Expect(processesOf(data)).To(BeEmpty())
	})

	It("stops cleanly while it still starts", func() {
		data := newData()
		session := start(data, "up")
		Eventually(processesOf).WithArguments(data).ShouldNot(BeEmpty())
		session.Terminate()
		Eventually(session).Should(gexec.Exit(0))
		Expect(processesOf(data)).To(BeEmpty())
	})

	It("says which port is in use", func() {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		defer func() { _ = listener.Close() }()
		port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
		session := start(newData(), "up", "--api-port", port)
		Eventually(session).Should(gexec.Exit(1))
		Expect(session.Err).To(gbytes.Say("port " + port + " is in use by another program: choose another one with --api-port"))
	})

	It("says that a folder cannot be used", func() {
		session := start("/proc/fairlead", "up")
		Eventually(session).Should(gexec.Exit(1))
		Expect(session.Err).To(gbytes.Say("data folder /proc/fairlead cannot be used: .*: choose another one with --data"))
	})

	It("says that a folder cannot be written", func() {
		// Root may write everywhere.
		user, folder := nobody(), GinkgoT().TempDir()
		if os.Geteuid() != 0 {
			user = nil
			Expect(os.Chmod(folder, 0o500)).To(Succeed())
		} else {
			for path := folder; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
				Expect(os.Chmod(path, 0o755)).To(Succeed())
			}
		}
		session := launch(user, filepath.Join(folder, "data"), "up")
		DeferCleanup(end, session)
		Eventually(session).Should(gexec.Exit(1))
		Expect(session.Err).To(gbytes.Say("data folder .*/data cannot be written .*: choose one with --data that you may write"))
	})

	It("says which program is missing", func() {
		alone := GinkgoT().TempDir()
		content, err := os.ReadFile(filepath.Join(bin, "fairlead"))
		Expect(err).NotTo(HaveOccurred())
		Expect(os.WriteFile(filepath.Join(alone, "fairlead"), content, 0o700)).To(Succeed())
		command := exec.Command(filepath.Join(alone, "fairlead"), "up", "--data", newData())
		command.Env = append(os.Environ(), "KUBEBUILDER_ASSETS=")
		output, err := command.CombinedOutput()
		Expect(err).To(HaveOccurred())
		Expect(string(output)).To(MatchRegexp(`a program is missing: .*/k8s/etcd.* run .make kube.`))
	})
})

// listeners returns the addresses on which a process listens for TCP.
func listeners(pid string) []net.IP {
	GinkgoHelper()
	sockets := map[string]bool{}
	links, err := filepath.Glob("/proc/" + pid + "/fd/*")
	Expect(err).NotTo(HaveOccurred())
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil {
			sockets[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
		}
	}
	var addresses []net.IP
	for _, table := range []string{"tcp", "tcp6"} {
		content, err := os.ReadFile("/proc/net/" + table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(content)) {
			fields := strings.Fields(line)
			const listening = "0A"
			if len(fields) < 10 || fields[3] != listening || !sockets[fields[9]] {
				continue
			}
			text, _, _ := strings.Cut(fields[1], ":")
			addresses = append(addresses, fromKernel(text))
		}
	}
	return addresses
}

// fromKernel reads an address of /proc/net: hexadecimal, each 32-bit word in the
// machine's order, which is little-endian wherever this runs.
func fromKernel(text string) net.IP {
	var address net.IP
	for word := 0; word+8 <= len(text); word += 8 {
		for i := 6; i >= 0; i -= 2 {
			b, err := strconv.ParseUint(text[word+i:word+i+2], 16, 8)
			Expect(err).NotTo(HaveOccurred())
			address = append(address, byte(b))
		}
	}
	return address
}
