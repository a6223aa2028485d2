package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
)

// startWorkload starts `fairlead run` of the test's own app and waits until it is ready. The
// app's argument names the data folder, by which it is found among processes.
func startWorkload(data, name string, flags ...string) *gexec.Session {
	GinkgoHelper()
	session := starting(data, name, flags...)
	Eventually(session.Err).Should(gbytes.Say("default/" + name + " is ready at 127.1[89]"))
	return session
}

func starting(data, name string, flags ...string) *gexec.Session {
	GinkgoHelper()
	args := append([]string{"run", "--name", name}, flags...)
	return start(data, append(args, "--", os.Args[0], data+"/app-of-"+name, "$(PORT)")...)
}

// get asks the proxy of a ready workload for a URL of the mesh.
func get(caller *gexec.Session, target string) (int, answer, error) {
	match := regexp.MustCompile(`is ready at (\S+)`).FindSubmatch(caller.Err.Contents())
	proxy := &url.URL{Scheme: "http", Host: string(match[1]) + ":15001"}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get(target)
	if err != nil {
		return 0, answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return response.StatusCode, answer{}, err
	}
	var said answer
	return response.StatusCode, said, json.Unmarshal(body, &said)
}

// endpoints are the addresses in the service's EndpointSlices, with their conditions.
func endpoints(data, service string) string {
	output, _ := kubectl(data, "get", "endpointslices", "-l", "kubernetes.io/service-name="+service,
		"-o", `jsonpath={range .items[*].endpoints[*]}{.targetRef.name}:{.conditions.ready} {end}`)
	return output
}

// proxy is what the agent of a workload says of its Envoy.
type proxy struct {
	State                    string
	Epoch, PID, RescueTokens int
	Certificates             struct {
		Certificate struct {
			URIs, Trusted []string
			Root          string
		}
		Proven time.Time
	}
	Manager struct {
		Connected time.Time
		Complaint string
	}
}

func proxyOf(data, pod string) (proxy, error) { return proxyIn(folderOf(data, pod)) }

func proxyIn(folder string) (said proxy, err error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(folder, "status.sock"))
		}}}
	response, err := client.Get("http://agent/status")
	if err != nil {
		return said, err
	}
	defer func() { _ = response.Body.Close() }()
	return said, json.NewDecoder(response.Body).Decode(&said)
}

// agentOf is the process id of a workload's agent.
func agentOf(data, pod string) (pid int) {
	GinkgoHelper()
	content, err := os.ReadFile(filepath.Join(folderOf(data, pod), "lock"))
	Expect(err).NotTo(HaveOccurred())
	_, err = fmt.Sscan(string(content), &pid)
	Expect(err).NotTo(HaveOccurred())
	return pid
}

// folderOf is the agent's.
func folderOf(data, pod string) string {
	GinkgoHelper()
	return filepath.Join(data, "run", mustKubectl(data, "get", "pod", pod, "-o", "jsonpath={.status.podIP}"))
}

func exists(data, pod string) bool {
	output, err := kubectl(data, "get", "pod", pod, "--ignore-not-found", "-o", "name")
	return err != nil || output != ""
}

var _ = Describe("fairlead run", Ordered, func() {
	var data string
	var cluster *gexec.Session
	BeforeAll(func() {
		data = newData()
		cluster = launchUp(data)
		mustKubectl(data, "create", "service", "clusterip", "app", "--tcp=80:8080")
		mustKubectl(data, "patch", "service", "app", "-p", `{"spec":{"ports":[{"port":80,"name":"http"}]}}`)
	})
	AfterAll(func() { end(cluster) })

	It("makes a command a workload that others call by its service's name", func() {
		one := startWorkload(data, "one", "--labels", "app=app,version=v1", "--port", "8080", "--service-account", "somebody", "--tcp", "db:5432")
		Expect(mustKubectl(data, "get", "pod", "one", "-o", `jsonpath={.spec.nodeName} {.spec.serviceAccountName} {.status.phase} {.metadata.labels.version} {.status.conditions[?(@.type=="Ready")].status}`)).
			To(Equal("fairlead somebody Running v1 True"))
		Expect(mustKubectl(data, "get", "pod", "one", "-o", "jsonpath={.status.podIP}")).To(MatchRegexp(`^198\.1[89]\.`))
		Eventually(endpoints).WithArguments(data, "app").Should(Equal("one:true"))

		caller := startWorkload(data, "caller")
		var said answer
		for _, host := range []string{"app", "app.default", "app.default.svc.cluster.local", "app:80"} {
			Eventually(func() (status int, err error) {
				status, said, err = get(caller, "http://"+host+"/")
				return status, err
			}).Should(Equal(http.StatusOK), host)
		}
		Expect(said.Pod).To(Equal("one"))

		By("telling the command where it is")
		told := said.Environment
		Expect(said.Arguments).To(HaveExactElements(data+"/app-of-one", told["PORT"]))
		Expect(told).To(HaveKeyWithValue("HTTP_PROXY", "http://"+told["FAIRLEAD_OUTBOUND_HTTP"]))
		Expect(told).To(HaveKeyWithValue("http_proxy", told["HTTP_PROXY"]))
		Expect(told).To(HaveKeyWithValue("FAIRLEAD_OUTBOUND_TCP_DB_5432", MatchRegexp(`^127\.1[89]\..*:15100$`)))

		By("keeping a token for it, bound to the Pod, that is no key to the cluster")
		token, err := os.ReadFile(filepath.Join(data, "run", told["POD_IP"], "token"))
		Expect(err).NotTo(HaveOccurred())
		Expect(review(data, string(token))).To(Equal("true system:serviceaccount:default:somebody one"))
		output, err := kubectlWith("/dev/null", "--server", mustKubectl(data, "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"),
			"--insecure-skip-tls-verify", "--token", string(token), "get", "--raw", "/version")
		Expect(err).To(HaveOccurred(), output)

		By("ending it at SIGTERM, with its Pod")
		for _, session := range []*gexec.Session{one, caller} {
			session.Terminate()
			Eventually(session).Should(gexec.Exit(0))
		}
		Expect(exists(data, "one")).To(BeFalse())
		Eventually(endpoints).WithArguments(data, "app").Should(BeEmpty())
		Expect(filepath.Join(data, "run", told["POD_IP"])).NotTo(BeADirectory())
		for _, line := range processesOf(data) {
			Expect(line).NotTo(Or(ContainSubstring("envoy"), ContainSubstring("app-of-")))
		}
	})

	It("has a certificate of the mesh, which its token got it, and speaks to the manager by that", func() {
		session := startWorkload(data, "proven", "--port", "8080", "--service-account", "somebody")
		folder := folderOf(data, "proven")
		Eventually(proxyOf).WithArguments(data, "proven").Should(And(
			HaveField("Certificates.Certificate.URIs", HaveExactElements("spiffe://cluster.local/ns/default/sa/somebody")),
			HaveField("Certificates.Proven", Not(BeZero())), HaveField("Manager.Connected", Not(BeZero())), HaveField("Manager.Complaint", ""),
		))
		Expect(mustKubectl(data, "get", "pod", "proven", "-o", `jsonpath={.metadata.labels.mesh\.fairlead\.dev/tlsMode}`)).To(Equal("mutual"))
		Expect(mustKubectl(data, "-n", "fairlead-system", "get", "configmap", "fairlead", "-o", `jsonpath={.data.mesh\.yaml}`)).To(MatchRegexp(`timeZone: \S+`))

		By("having no other way to the manager than by TLS")
		Expect(filepath.Glob(filepath.Join(data, "run", "xds*"))).To(BeEmpty())
		roots, err := os.ReadFile(filepath.Join(folder, "certs", "current", "root-cert.pem"))
		Expect(err).NotTo(HaveOccurred())
		Expect(mustKubectl(data, "-n", "fairlead-system", "get", "configmap", "fairlead-trust", "-o", `jsonpath={.data.root-cert\.pem}`)).
			To(Equal(strings.TrimSpace(string(roots))))

		By("going on when the manager is another process, at the same address")
		connected := func() (time.Time, error) { said, err := proxyIn(folder); return said.Manager.Connected, err }
		before, err := connected()
		Expect(err).NotTo(HaveOccurred())
		cluster.Interrupt()
		Eventually(cluster).Should(gexec.Exit(0))
		Eventually(proxyIn).WithArguments(folder).Should(HaveField("Manager.Complaint", ContainSubstring("nobody listens at 127.0.0.1:")))
		cluster = launchUp(data)
		Eventually(connected).Should(BeTemporally(">", before))

		By("keeping keys and tokens out of every log")
		key, err := os.ReadFile(filepath.Join(folder, "certs", "current", "key.pem"))
		Expect(err).NotTo(HaveOccurred())
		token, err := os.ReadFile(filepath.Join(folder, "token"))
		Expect(err).NotTo(HaveOccurred())
		logs, err := filepath.Glob(filepath.Join(data, "logs", "*.log"))
		Expect(err).NotTo(HaveOccurred())
		Expect(logs).NotTo(BeEmpty())
		for _, path := range logs {
			content, err := os.ReadFile(path)
			Expect(err).NotTo(HaveOccurred())
			Expect(string(content)).NotTo(Or(ContainSubstring("PRIVATE KEY"), ContainSubstring(string(key[40:80])), ContainSubstring(string(token))), path)
		}
		session.Terminate()
		Eventually(session).Should(gexec.Exit(0))
	})

	It("leads to a TCP service by a listener of the caller's own", func() {
		mustKubectl(data, "create", "service", "clusterip", "raw", "--tcp=5432:9000")
		server := startWorkload(data, "raw", "--labels", "app=raw", "--port", "9000/tcp")
		caller := startWorkload(data, "caller4", "--tcp", "raw:5432")
		match := regexp.MustCompile(`is ready at (\S+)`).FindSubmatch(caller.Err.Contents())
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		Eventually(func() error {
			response, err := client.Get("http://" + string(match[1]) + ":15100/")
			if err != nil {
				return err
			}
			defer func() { _ = response.Body.Close() }()
			var said answer
			if err := json.NewDecoder(response.Body).Decode(&said); err != nil {
				return err
			}
			if said.Pod != "raw" {
				return fmt.Errorf("%q answered", said.Pod)
			}
			return nil
		}).Should(Succeed())
		for _, session := range []*gexec.Session{server, caller} {
			session.Terminate()
			Eventually(session).Should(gexec.Exit(0))
		}
	})

	It("takes a replica away without a failed request", func() {
		stays := startWorkload(data, "stays", "--labels", "app=app", "--port", "8080")
		goes := startWorkload(data, "goes", "--labels", "app=app", "--port", "8080")
		caller := startWorkload(data, "caller2")
		for _, pod := range []string{"stays", "goes"} {
			Eventually(func() (string, error) { _, said, err := get(caller, "http://app/"); return said.Pod, err }).Should(Equal(pod))
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var requests, failures atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer GinkgoRecover()
			for ctx.Err() == nil {
				status, _, err := get(caller, "http://app/")
				requests.Add(1)
				if err != nil || status != http.StatusOK {
					failures.Add(1)
					fmt.Fprintln(GinkgoWriter, "failed:", status, err)
				}
			}
		}()
		Eventually(requests.Load).Should(BeNumerically(">", 20))
		goes.Terminate()
		Eventually(goes).Should(gexec.Exit(0))
		after := requests.Load()
		Eventually(requests.Load).Should(BeNumerically(">", after+20))
		cancel()
		<-done
		Expect(failures.Load()).To(BeZero(), "of %d requests", requests.Load())
		for _, session := range []*gexec.Session{stays, caller} {
			session.Terminate()
			Eventually(session).Should(gexec.Exit(0))
		}
	})

	It("ends when its Pod is deleted", func() {
		session := startWorkload(data, "deleted", "--port", "8080")
		mustKubectl(data, "delete", "pod", "deleted")
		Eventually(session).Should(gexec.Exit(0))
		Expect(session.Err).To(gbytes.Say("stopping default/deleted: its Pod was deleted"))
		Expect(exists(data, "deleted")).To(BeFalse())
	})

	It("ends as its command does, and passes signals on", func() {
		session := startWorkload(data, "exits", "--port", "8080")
		session.Signal(syscall.SIGUSR1)
		Eventually(session).Should(gexec.Exit(7))
		Expect(exists(data, "exits")).To(BeFalse())
	})

	It("goes on when its Envoy is killed, which the agent starts again", func() {
		session := startWorkload(data, "rescued", "--labels", "app=app", "--port", "8080")
		killed := process(data, "envoy")
		Expect(syscall.Kill(killed, syscall.SIGKILL)).To(Succeed())
		Eventually(proxyOf).WithArguments(data, "rescued").Should(And(HaveField("State", "live"), HaveField("RescueTokens", 9), HaveField("PID", Not(Equal(killed)))))
		Eventually(func() (string, error) { _, said, err := get(session, "http://app/"); return said.Pod, err }).Should(Equal("rescued"), "through the Envoy that was started again")
		session.Terminate()
		Eventually(session).Should(gexec.Exit(0))
	})

	It("has its Envoy restarted hot by SIGHUP to the agent, whose process id is in its folder", func() {
		session := startWorkload(data, "renewed", "--port", "8080")
		Expect(syscall.Kill(agentOf(data, "renewed"), syscall.SIGHUP)).To(Succeed())
		Eventually(proxyOf).WithArguments(data, "renewed").Should(And(HaveField("State", "live"), HaveField("Epoch", 1)))
		session.Terminate()
		Eventually(session).Should(gexec.Exit(0))
	})

	It("ends when its agent gives Envoy up, and says why", func() {
		GinkgoT().Setenv("FAIRLEAD_RESCUE_TOKENS", "0")
		session := startWorkload(data, "proxyless", "--port", "8080")
		Expect(syscall.Kill(process(data, "envoy"), syscall.SIGKILL)).To(Succeed())
		Eventually(session).Should(gexec.Exit(1))
		Expect(session.Err).To(gbytes.Say(`fairlead-agent ended by itself with exit status 1; its last lines:`))
		Expect(session.Err).To(gbytes.Say(`level=ERROR .*was killed by signal 9`))
		Expect(exists(data, "proxyless")).To(BeFalse())
	})

	It("refuses a name that is taken, and one of a Pod that is not its own", func() {
		session := startWorkload(data, "taken", "--port", "8080")
		second := starting(data, "taken", "--port", "8080")
		Eventually(second).Should(gexec.Exit(1))
		Expect(second.Err).To(gbytes.Say(fmt.Sprintf(`workload default/taken is running already \(process %d\): choose another --name`, session.Command.Process.Pid)))
		Expect(exists(data, "taken")).To(BeTrue())
		session.Terminate()
		Eventually(session).Should(gexec.Exit(0))

		mustKubectl(data, "run", "foreign", "--image=none")
		other := starting(data, "foreign")
		Eventually(other).Should(gexec.Exit(1))
		Expect(other.Err).To(gbytes.Say("a Pod default/foreign exists that `fairlead run` did not create: choose another --name"))
		mustKubectl(data, "delete", "pod", "foreign", "--force", "--grace-period=0")
	})

	DescribeTable("refuses what cannot work, and leaves no Pod", func(words string, args ...string) {
		session := start(data, append([]string{"run"}, args...)...)
		Eventually(session).Should(gexec.Exit(1))
		Expect(session.Err).To(gbytes.Say(words))
		Expect(mustKubectl(data, "get", "pods", "-A", "-o", "name")).To(BeEmpty())
	},
		Entry("no such command", `the command cannot be run: .*no-such-program`, "--name", "a", "--", "no-such-program"),
		Entry("no such namespace", "namespace \"nowhere\" does not exist: create it with `kubectl create namespace nowhere`", "--name", "a", "--namespace", "nowhere", "--", "true"),
		Entry("a command before the dashes", `unexpected argument "true": the command comes after "--"`, "--name", "a", "true"),
		Entry("several faults at once", `--name is missing.*\n--port "x"`, "--port", "x", "--", "true"),
	)

	It("is failed and removed by up when it is killed", func() {
		session := startWorkload(data, "killed", "--labels", "app=app", "--port", "8080")
		Eventually(endpoints).WithArguments(data, "app").Should(Equal("killed:true"))
		watch, err := gexec.Start(exec.Command(filepath.Join(bin, "k8s", "kubectl"), "--kubeconfig", filepath.Join(data, "kubeconfig"),
			"get", "pod", "killed", "--watch", "-o", `jsonpath={.status.phase}/{.status.reason}{"\n"}`), GinkgoWriter, GinkgoWriter)
		Expect(err).NotTo(HaveOccurred())
		defer watch.Kill()
		Eventually(watch).Should(gbytes.Say("Running/"))

		session.Kill()
		Eventually(session).Should(gexec.Exit())
		Eventually(watch).Should(gbytes.Say("Failed/RunGone"))
		Eventually(exists).WithArguments(data, "killed").Should(BeFalse())
		Eventually(endpoints).WithArguments(data, "app").Should(BeEmpty())
		Eventually(cluster).Should(gbytes.Say("ended Pod default/killed: its `fairlead run` is gone"))
		for _, line := range processesOf(data) {
			Expect(line).NotTo(Or(ContainSubstring("envoy"), ContainSubstring("app-of-killed")))
		}
		By("taking the name again")
		again := startWorkload(data, "killed", "--labels", "app=app", "--port", "8080")
		again.Terminate()
		Eventually(again).Should(gexec.Exit(0))
	})

	It("outlives a restart of up, which ends those that were killed meanwhile", func() {
		lives := startWorkload(data, "lives", "--labels", "app=app", "--port", "8080")
		dies := startWorkload(data, "dies", "--labels", "app=app", "--port", "8080")
		caller := startWorkload(data, "caller3")
		Eventually(func() (int, error) { status, _, err := get(caller, "http://app/"); return status, err }).Should(Equal(http.StatusOK))
		proxyOfDies := folderOf(data, "dies") + "/"
		cluster.Interrupt()
		Eventually(cluster).Should(gexec.Exit(0))
		dies.Kill()
		Eventually(dies).Should(gexec.Exit())
		Eventually(processesOf).WithArguments(data).ShouldNot(ContainElement(ContainSubstring(proxyOfDies)), "its Envoy is gone, which would answer 503 for the command")
		status, _, err := get(caller, "http://app/")
		Expect(err).NotTo(HaveOccurred())
		Expect(status).To(Equal(http.StatusOK), "traffic goes on without a control plane")

		cluster = launchUp(data)
		Expect(exists(data, "dies")).To(BeFalse())
		Eventually(endpoints).WithArguments(data, "app").Should(Equal("lives:true"))
		mustKubectl(data, "delete", "pod", "lives")
		Eventually(lives).Should(gexec.Exit(0), "it watches its Pod again")
		caller.Terminate()
		Eventually(caller).Should(gexec.Exit(0))
	})

	It("ends without a cluster too, and the next start removes its Pod", func() {
		session := startWorkload(data, "lonely", "--port", "8080")
		cluster.Interrupt()
		Eventually(cluster).Should(gexec.Exit(0))
		session.Terminate()
		Eventually(session).Should(gexec.Exit(0))
		Expect(session.Err).To(gbytes.Say("`fairlead up` is gone: its next start removes Pod default/lonely"))

		none := starting(data, "none")
		Eventually(none).Should(gexec.Exit(1))
		Expect(none.Err).To(gbytes.Say("no `fairlead up` is running on the data folder " + data + ": start it with `fairlead up --data " + data + "`"))

		cluster = launchUp(data)
		Expect(exists(data, "lonely")).To(BeFalse())
	})
})

var _ = Describe("without root", func() {
	It("does all of it", func() {
		user := nobody()
		data := newData()
		if os.Geteuid() == 0 {
			Expect(os.Chown(data, int(user.Uid), int(user.Gid))).To(Succeed())
		} else {
			user = nil
		}
		cluster := launch(user, data, "up")
		DeferCleanup(end, cluster)
		Eventually(cluster).Should(gbytes.Say("Fairlead is up"))
		session := launch(user, data, "run", "--name", "modest", "--port", "8080", "--", "sh", "-c", "exec "+filepath.Join(bin, "fairlead")+" --version # "+data+"/")
		Eventually(session).Should(gexec.Exit(0))
		privileged := launch(user, data, "run", "--name", "greedy", "--port", "80", "--", "true")
		Eventually(privileged).Should(gexec.Exit(1))
		Expect(privileged.Err).To(gbytes.Say("port 80 is for root only: choose one from 1024 up; a Service's targetPort can lead to it"))
		cluster.Interrupt()
		Eventually(cluster).Should(gexec.Exit(0))
	})
})

// review asks the API server whose token it is, as the manager will.
func review(data, token string) string {
	GinkgoHelper()
	file := filepath.Join(GinkgoT().TempDir(), "review.json")
	Expect(os.WriteFile(file, fmt.Appendf(nil, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":%q,"audiences":["fairlead"]}}`, token), 0o600)).To(Succeed())
	return mustKubectl(data, "create", "-f", file, "-o",
		`jsonpath={.status.authenticated} {.status.user.username} {.status.user.extra.authentication\.kubernetes\.io/pod-name[0]}`)
}
