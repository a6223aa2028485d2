package manager_test

import (
	"bytes"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"fairlead.dev/fairlead/agent/controlplane"
	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/manager"
	"fairlead.dev/fairlead/internal/agentapi"
)

// first goes as far as the first certificate.
func first(t *testing.T, m *fakeManager, changes ...func(*manager.Options)) (*agent, *call) {
	t.Helper()
	a := newAgent(t, m, changes...)
	c := m.next("token")
	if !c.hello.GetWantsCertificates() {
		t.Error("no certificates are wanted")
	}
	c.issue(c.asked(), m.roots())
	a.serves(1)
	return a, c
}

func TestTheFirstCertificateByTokenAndTheNextByTheCertificate(t *testing.T) {
	m := newManager(t)
	a, c := first(t, m)
	report := c.reported(func(r *agentapi.Report) bool { return r.GetCertificate() != nil && r.GetRequests() == 7 })
	about := a.folder.Status().Certificate
	if report.GetEpoch() != 3 || report.GetState() != "live" || report.GetComplaint() != "" || report.GetAt() == nil ||
		report.GetCertificate().GetSerial() != about.Serial || report.GetCertificate().GetRoot() != about.Root ||
		len(report.GetCertificate().GetTrusted()) != 1 || report.GetCertificate().GetProven() != nil || report.GetRawQuiet() != nil {
		t.Errorf("the report is %v", report)
	}

	c.renew()
	r := c.asked()
	key := func() string { return about.Fingerprint }
	before := key()
	c.issue(r, m.roots())
	a.serves(2)
	if about = a.folder.Status().Certificate; key() == before {
		t.Error("the certificate is the one before")
	}
	// The bound on a stream's age.
	c.end <- nil
	ended := time.Now()
	c = m.next(identity)
	if paused := time.Since(ended); paused > 5*time.Second {
		t.Errorf("came back after %s", paused)
	}
	c.reported(func(r *agentapi.Report) bool { return r.GetCertificate().GetGeneration() == 2 })
	if status := a.Status(); status.Connected.IsZero() || status.Complaint != "" {
		t.Errorf("the status is %+v", status)
	}
}

// What is new is told at once, and nothing else before the interval is over.
func TestReportsWhatIsNew(t *testing.T) {
	m := newManager(t)
	a, c := first(t, m)
	c.reported(func(r *agentapi.Report) bool { return r.GetCertificate() != nil })
	for range 5 {
		a.Note()
	}
	a.mu.Lock()
	a.proxy = envoy.Status{State: envoy.Unresponsive, Reason: "it hangs", Epoch: 4}
	a.mu.Unlock()
	a.Note()
	// The very next one.
	if r := c.receive().GetReport(); r.GetState() != "unresponsive" || r.GetEpoch() != 4 || r.GetReason() != "it hangs" {
		t.Errorf("the report is %v", r)
	}
}

// The library's own way to bound the age of connections.
func TestComesBackAfterGoAway(t *testing.T) {
	m := newManager(t, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 500 * time.Millisecond, MaxConnectionAgeGrace: 100 * time.Millisecond}))
	a, _ := first(t, m)
	m.next(identity)
	m.next(identity)
	if logged := a.logged(); strings.Contains(logged, "WARN") {
		t.Errorf("an end by age is no reason to warn:\n%s", logged)
	}
}

func TestGoesOnWhileTheManagerIsAway(t *testing.T) {
	m := newManager(t)
	a, _ := first(t, m)
	m.stop()
	a.complains("nobody listens at " + m.address + ": start the manager")
	if a.folder.Status().Certificate == nil {
		t.Error("the certificate is gone")
	}
	m.start(m.address, server)
	c := m.next(identity)
	c.renew()
	c.issue(c.asked(), m.roots())
	a.serves(2)
	if n := strings.Count(a.logged(), "nobody listens"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestAsksByItselfOnlyNearTheEnd(t *testing.T) {
	m := newManager(t)
	a := newAgent(t, m)
	c := m.next("token")
	began := time.Now()
	// Nine tenths of its life are over in 2 s.
	c.issue(c.asked(), m.roots(), func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = began.Add(-88*time.Second).Truncate(time.Second), began.Add(12*time.Second).Truncate(time.Second)
	})
	a.serves(1)
	r := c.asked()
	if waited := time.Since(began); waited < time.Second {
		t.Errorf("asked after %s", waited)
	}
	c.issue(r, m.roots())
	a.serves(2)
}

func TestARefusalIsToldAndHeeded(t *testing.T) {
	m := newManager(t)
	a := newAgent(t, m)
	c := m.next("token")
	refused := time.Now()
	before := c.asked()
	c.refuse(before, time.Second)
	a.complains("the manager issues no certificate: Denied: ask somebody else")
	c.reported(func(r *agentapi.Report) bool { return strings.Contains(r.GetComplaint(), "ask somebody else") })
	r := c.asked()
	if waited := time.Since(refused); waited < time.Second {
		t.Errorf("asked again after %s", waited)
	}
	// Somebody may be about to approve it, and takes longer than a stream lasts.
	if !bytes.Equal(r.GetCsr(), before.GetCsr()) {
		t.Error("what is not decided on was asked for with another key")
	}
	c.end <- nil
	c = m.next("token")
	if r = c.asked(); !bytes.Equal(r.GetCsr(), before.GetCsr()) {
		t.Error("the next stream asked with another key")
	}
	// The same never succeeds: not until something changes.
	c.refuse(r, 0)
	c.renew()
	if r = c.asked(); bytes.Equal(r.GetCsr(), before.GetCsr()) {
		t.Error("what was refused for good was asked for again")
	}
	// One that nobody waits for any more.
	c.refuse(&agentapi.SigningRequest{Id: r.GetId() - 1}, time.Hour)
	c.issue(r, m.roots())
	a.serves(1)
	NewWithT(t).Eventually(a.Status).Within(patience).Should(HaveField("Complaint", ""), "it was issued")
}

func TestWhatIsIssuedIsChecked(t *testing.T) {
	m := newManager(t)
	a, c := first(t, m)
	c.renew()
	r := c.asked()
	foreign := newAuthority(t, "foreign")
	c.send(&agentapi.FromManager{Message: &agentapi.FromManager_Issued{Issued: &agentapi.Issued{Id: r.GetId(), Chain: foreign.Roots, Roots: foreign.Roots}}})
	a.complains("the certificate that the manager issued cannot be taken: cert-chain.pem begins with the certificate of an authority")
	a.serves(1)
}

func TestRootsArePushed(t *testing.T) {
	m := newManager(t)
	a, c := first(t, m)
	next := newAuthority(t, "next")
	c.trust(append(append([]byte{}, m.roots().Roots...), next.Roots...))
	a.serves(2)
	if about := a.folder.Status().Certificate; len(about.Trusted) != 2 {
		t.Errorf("trusted are %v", about.Trusted)
	}
	c.reported(func(r *agentapi.Report) bool { return len(r.GetCertificate().GetTrusted()) == 2 })
	// The old root goes before the leaf was renewed: the agent asks, rather than be left behind.
	c.trust(next.Roots)
	c.issue(c.asked(), next)
	a.serves(3)
	if about := a.folder.Status().Certificate; len(about.Trusted) != 1 || about.Trusted[0] != about.Root {
		t.Errorf("the certificate is %+v", about)
	}
}

// A mesh whose root was replaced while the agent was away: its certificate says nothing
// any more, its token does.
func TestComesBackByTokenIfItsCertificateIsNotTaken(t *testing.T) {
	m := newManager(t)
	a, _ := first(t, m)
	m.stop()
	next := newAuthority(t, "next")
	m.mu.Lock()
	m.authority = next
	m.mu.Unlock()
	a.complains("nobody listens")
	a.writeRoots(next.Roots)
	m.start(m.address, server)
	c := m.next("token")
	c.issue(c.asked(), next)
	a.serves(2)
}

func TestShowsItsTokenToNobodyElse(t *testing.T) {
	m := &fakeManager{t: t, calls: make(chan *call, 16), authority: newAuthority(t, "root")}
	m.address = m.start("127.0.0.1:0", identity)
	a := newAgent(t, m)
	a.complains("is for " + identity + " and not for " + server)
	if len(m.calls) > 0 {
		t.Error("it called")
	}
}

func TestSaysWhyItIsNotLetIn(t *testing.T) {
	m := newManager(t)
	a := newAgent(t, m, func(o *manager.Options) {
		o.TokenFile += "-other"
		if err := os.WriteFile(o.TokenFile, []byte("another"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	a.complains("does not let the agent in: neither a certificate nor a token: 100 %")

	b := newAgent(t, m, func(o *manager.Options) { o.TokenFile += "-none" })
	b.complains("read the token: open ")

	d := newAgent(t, m, func(o *manager.Options) { o.TokenFile = o.FirstRoots })
	d.complains("roots.pem holds no token: mount one for the audience fairlead")

	c := newAgent(t, m, func(o *manager.Options) { o.TokenFile = "" })
	c.complains("there is no valid certificate to be known by: mount one")
}

// An older manager serves Envoy and knows of no agents.
func TestAManagerThatKnowsNoAgents(t *testing.T) {
	m := newManager(t)
	a := newAgent(t, m)
	c := <-m.calls
	c.end <- status.Error(codes.Unimplemented, "unknown service")
	a.complains("knows of no agents: update it")
}

// Certificates that are mounted are reported, and neither asked for nor replaced.
func TestMountedCertificatesStay(t *testing.T) {
	m := newManager(t)
	mounted, err := m.roots().Issue(identity)
	if err != nil {
		t.Fatal(err)
	}
	a := newAgent(t, m, func(o *manager.Options) {
		o.Algorithm = ""
		if err := o.Certificates.Give(mounted.Key, mounted.Chain, mounted.Roots); err != nil {
			t.Fatal(err)
		}
	})
	c := m.next(identity)
	if c.hello.GetWantsCertificates() {
		t.Error("certificates are wanted")
	}
	c.renew()
	c.trust(newAuthority(t, "next").Roots)
	c.reported(func(r *agentapi.Report) bool { return r.GetCertificate().GetGeneration() == 1 })
	a.mu.Lock()
	a.proxy.Epoch = 5
	a.mu.Unlock()
	a.Note()
	if r := c.receive().GetReport(); r.GetEpoch() != 5 || r.GetComplaint() != "" {
		t.Errorf("the report is %v", r)
	}
}

func TestFollowsTheManagersAddress(t *testing.T) {
	m, other := newManager(t), newManager(t)
	other.authority = m.authority
	address := make(chan string, 1)
	address <- m.address
	a, _ := first(t, m, func(o *manager.Options) {
		target := o.Target
		o.Target = func() controlplane.Target {
			t := target()
			now := <-address
			address <- now
			t.Address = now
			return t
		}
	})
	<-address
	address <- other.address
	a.Note()
	other.next(identity)
}
