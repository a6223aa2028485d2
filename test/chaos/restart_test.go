package chaos

import (
	"os"
	"path/filepath"
	"syscall"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/test/testenv"
)

// serving is one workload with everything under load.
func serving(s *scene, arguments ...string) *workload {
	s.t.Helper()
	w := s.add("reviews")
	s.serve()
	w.start(arguments...)
	s.under(w.target())
	return w
}

func hotRestarts(s *scene) {
	w := serving(s)
	for n := range s.times {
		before := w.envoyPID()
		w.hotRestart()
		w.epoch(n + 1)
		w.gone(before, "the predecessor ends")
	}
	s.saw("%d epochs in %s", s.times+1, time.Since(s.load.began).Round(time.Second))
}

// refused waits until a restart was refused and says why. The Envoy that serves is the
// same as before.
func (w *workload) refused(why string) {
	w.stage.t.Helper()
	before := w.envoyPID()
	w.stage.g.Eventually(w.status).Within(patience).Should(HaveField("LastRestart", HaveValue(And(
		HaveField("Result", "refused"), HaveField("Reason", ContainSubstring(why))))), "it says why it does not restart")
	w.stage.g.Expect(w.status()).To(And(HaveField("PID", before), HaveField("State", envoy.Live)))
}

func controlPlaneGone(s *scene) {
	w := serving(s)
	var longest time.Duration
	for n := range s.times {
		s.plane.stop()
		s.load.flows(20)
		w.hotRestart()
		w.refused("control plane")
		s.load.flows(20)
		s.plane.start()
		back := time.Now()
		w.epoch(n + 1)
		longest = max(longest, time.Since(back))
	}
	s.saw("the hot restart was refused meanwhile, and came off %s at the latest after the control plane was back", longest.Round(100*time.Millisecond))
}

func corruptConfiguration(s *scene) {
	path := filepath.Join(s.dir, "agent.conf")
	write := func(content string) { s.g.Expect(os.WriteFile(path, []byte(content), 0o600)).To(Succeed()) }
	write("max-connections = 50000\n")
	w := serving(s, "--config="+path)
	before := w.envoyPID()
	for _, mistake := range []struct{ content, told string }{
		{"max-connections = plenty\n", "plenty"}, {"max-connect", "has no '='"}, {"max-connections = -1\n", "-1"}, {"no-such-flag = 1\n", "no-such-flag"},
	} {
		write(mistake.content)
		s.g.Eventually(w.complaint).Within(patience).Should(ContainSubstring(mistake.told), "/status tells")
		s.g.Expect(w.logs.String()).To(ContainSubstring(mistake.told), "so does the log")
	}
	s.load.flows(20)
	s.g.Expect(w.envoyPID()).To(Equal(before))
	s.g.Expect(w.status()).To(And(HaveField("Epoch", 0), HaveField("State", envoy.Live)))
	write("max-connections = 40000\n")
	w.epoch(1)
	s.g.Expect(w.complaint()).To(BeEmpty())
	s.saw("each told in the log and in /status; a good file after them was taken by a hot restart")
}

// fullDisk gives the agent a file system of its own, to fill it.
func fullDisk(s *scene) {
	w := s.add("reviews")
	s.g.Expect(os.Mkdir(w.dir, 0o700)).To(Succeed())
	s.g.Expect(syscall.Mount("tmpfs", w.dir, "tmpfs", 0, "size=256k,mode=0700")).To(Succeed(),
		"a file system that can be filled takes root: run `make test-chaos` as root")
	s.t.Cleanup(func() { s.g.Expect(syscall.Unmount(w.dir, 0)).To(Succeed()) })
	s.serve()
	w.start()
	s.under(w.target())
	filling := filepath.Join(w.dir, "filling")
	for n := range s.times {
		s.g.Expect(os.WriteFile(filling, make([]byte, 1<<20), 0o600)).To(MatchError(syscall.ENOSPC))
		w.hotRestart()
		w.refused("no space left on device")
		s.load.flows(20)
		s.g.Expect(os.Remove(filling)).To(Succeed())
		w.epoch(n + 1)
	}
	s.saw("hot restart refused, and made up for once there was room")
}

// upgrade replaces Envoy's binary by another version and back.
func upgrade(s *scene) {
	current, err := testenv.Envoy()
	s.g.Expect(err).NotTo(HaveOccurred())
	older := filepath.Join(testenv.Root(), "bin", "envoy-older")
	s.g.Expect(older).To(BeAnExistingFile(), "run `make envoy-older`")
	link := filepath.Join(s.dir, "envoy")
	s.g.Expect(os.Symlink(current, link)).To(Succeed())
	w := serving(s, "--envoy="+link)
	for n := range s.times {
		next := []string{older, current}[n%2]
		pid := w.envoyPID()
		replaceLink(s, link, next)
		w.epoch(n + 1)
		program, err := os.Readlink("/proc/" + itoa(w.envoyPID()) + "/exe")
		s.g.Expect(err).NotTo(HaveOccurred())
		s.g.Expect(filepath.EvalSymlinks(next)).To(Equal(program))
		w.gone(pid, "the predecessor ends")
	}
	s.saw("Envoy %s and %s took turns by hot restart", version(s, older), version(s, current))
}

// anotherProtocol replaces Envoy by one that cannot talk to the one that serves: all that
// are published do, so a script says that it does not.
func anotherProtocol(s *scene) {
	current, err := testenv.Envoy()
	s.g.Expect(err).NotTo(HaveOccurred())
	script := filepath.Join(s.dir, "another")
	s.g.Expect(os.WriteFile(script, []byte("#!/bin/sh\ncase \"$*\" in --hot-restart-version) echo 10.1;; *) exec "+current+" \"$@\";; esac\n"), 0o700)).To(Succeed())
	link := filepath.Join(s.dir, "envoy")
	s.g.Expect(os.Symlink(current, link)).To(Succeed())
	w := serving(s, "--envoy="+link, "--min-drain=2s", "--termination-grace-period=15s")
	pid := w.envoyPID()
	replaceLink(s, link, script)
	s.g.Eventually(w.logs.String).Within(patience).ProbeEvery(5 * time.Millisecond).Should(MatchRegexp("(Drained|Stopped draining) Envoy"))
	since := time.Now()
	w.gone(pid, "it is ended once it has drained")
	w.listens()
	s.was(since, time.Now())
	w.becomesReady()
	s.g.Expect(w.logs.String()).To(ContainSubstring("hot-restart version is 10.1"))
	s.saw("drained, then listening again after %s", time.Since(since).Round(10*time.Millisecond))
}

// brokenBinary replaces Envoy by something that does not run.
func brokenBinary(s *scene) {
	current, err := testenv.Envoy()
	s.g.Expect(err).NotTo(HaveOccurred())
	broken := filepath.Join(s.dir, "broken")
	s.g.Expect(os.WriteFile(broken, []byte("#!/bin/sh\nexit 1\n"), 0o700)).To(Succeed())
	link := filepath.Join(s.dir, "envoy")
	s.g.Expect(os.Symlink(current, link)).To(Succeed())
	w := serving(s, "--envoy="+link)
	replaceLink(s, link, broken)
	w.refused("hot-restart version")
	s.load.flows(20)
	replaceLink(s, link, current)
	w.epoch(1)
	s.saw("refused, told in the log and in /status; the next good one was taken by a hot restart")
}

func replaceLink(s *scene, link, to string) {
	s.t.Helper()
	s.g.Expect(os.Symlink(to, link+".new")).To(Succeed())
	s.g.Expect(os.Rename(link+".new", link)).To(Succeed())
}
