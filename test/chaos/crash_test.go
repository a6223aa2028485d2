package chaos

import (
	"errors"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"time"

	. "github.com/onsi/gomega"
)

// was notes that nobody answered for a while. What was under way breaks a moment before
// the process is seen to be gone.
func (s *scene) was(since, until time.Time) {
	s.down = append(s.down, [2]time.Time{since.Add(-50 * time.Millisecond), until})
}

// listens waits until somebody answers on all ports: a socket that is about to be closed
// takes connections too.
func (w *workload) listens() {
	w.stage.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	answers := func() error {
		response, err := client.Post("http://"+w.at(httpPort), "", nil)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		for _, port := range []int{grpcPort, tcpPort} {
			connection, err := net.Dial("tcp", w.at(port))
			if err != nil {
				return err
			}
			_ = connection.Close()
		}
		return nil
	}
	w.stage.g.Eventually(answers).Within(patience).ProbeEvery(5*time.Millisecond).Should(Succeed(), "Envoy listens again")
}

// firstToken is the wait before the first rescue, which is the flag's default.
const firstToken = 200 * time.Millisecond

// killEnvoy has each kill be the first, for which the tokens are to be there again.
func killEnvoy(s *scene) {
	w := serving(s, "--rescue-refill=1s")
	var longest time.Duration
	for range s.times {
		s.g.Eventually(w.status).Within(patience).ProbeEvery(50 * time.Millisecond).Should(HaveField("RescueTokens", 10))
		s.load.flows(5)
		pid, killed := w.envoyPID(), time.Now()
		w.kill(pid, syscall.SIGKILL)
		w.gone(pid, "it is dead")
		w.listens()
		s.was(killed, time.Now())
		longest = max(longest, time.Since(killed))
		w.becomesReady()
	}
	s.saw("listening again at the latest %s after the kill, of which the first token's delay is %s", longest.Round(10*time.Millisecond), firstToken)
	if full {
		s.g.Expect(longest).To(BeNumerically("<", firstToken+time.Second), "what issue 4 asks for")
	}
}

func killAgent(s *scene) {
	w := serving(s)
	var longest time.Duration
	for range s.times {
		pid, killed := w.envoyPID(), time.Now()
		w.signal(syscall.SIGKILL)
		w.ends()
		w.gone(pid, "Envoy goes with its agent")
		w.start()
		w.listens()
		s.was(killed, time.Now())
		longest = max(longest, time.Since(killed))
		s.load.flows(5)
	}
	s.saw("Envoy went along each time; with an agent started at once in the same folder, listening again at the latest %s after the kill", longest.Round(10*time.Millisecond))
}

func freeze(s *scene) {
	w := serving(s)
	var longest time.Duration
	for range s.times {
		pid, stopped := w.envoyPID(), time.Now()
		w.kill(pid, syscall.SIGSTOP)
		s.g.Eventually(w.ready).Within(patience).Should(HavePrefix("503 unresponsive"), "it is noticed")
		longest = max(longest, time.Since(stopped))
		w.kill(pid, syscall.SIGCONT)
		w.becomesReady()
		s.g.Expect(w.envoyPID()).To(Equal(pid), "it was left alone")
		s.load.flows(5)
	}
	s.saw("not ready after %s at the latest, ready again once it went on; nothing was restarted", longest.Round(100*time.Millisecond))
}

// portTaken has somebody else on the port of one listener when Envoy starts.
func portTaken(s *scene) {
	w := s.add("reviews")
	other, err := net.Listen("tcp", w.at(tcpPort))
	s.g.Expect(err).NotTo(HaveOccurred())
	s.t.Cleanup(func() { _ = other.Close() })
	s.serve()
	w.start()
	to := w.target()
	to.tcp = ""
	s.under(to)
	tells := And(ContainSubstring("inbound|8081"), ContainSubstring("Address already in use"))
	s.g.Eventually(w.logs.String).Within(patience).Should(tells, "the log tells which")
	s.g.Eventually(s.plane.refused).Within(patience).Should(tells, "and the control plane is told")
	s.g.Expect(other.Close()).To(Succeed())
	w.hotRestart()
	w.epoch(1)
	w.listens()
	s.saw("the log and the refusal that the control plane gets tell which listener; the others serve, and after a hot restart so does that one")
}

func itoa(n int) string { return strconv.Itoa(n) }

var release = regexp.MustCompile(`/(\d+\.\d+\.\d+)/`)

// version is what an Envoy says that it is, such as 1.40.0.
func version(s *scene, binary string) string {
	s.t.Helper()
	output, err := exec.Command(binary, "--version").Output()
	s.g.Expect(err).NotTo(HaveOccurred())
	found := release.FindSubmatch(output)
	s.g.Expect(found).NotTo(BeNil(), "%s", output)
	return string(found[1])
}
