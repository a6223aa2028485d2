package certs_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/test/testenv"
)

// unmounted is a place whose certificates come from memory.
func unmounted(t *testing.T) *place {
	t.Helper()
	p := newPlace(t, func(o *certs.Options) { o.Mount = "" })
	p.prepare()
	return p
}

func (p *place) give(c testenv.Credentials) error { return p.Give(c.Key, c.Chain, c.Roots) }

func TestEnvoyServesWhatIsGiven(t *testing.T) {
	p := unmounted(t)
	if status := p.Status(); status.Complaint != "" || status.Certificate != nil {
		t.Errorf("before anything is given the status is %+v", status)
	}
	p.startEnvoy()
	first := issue(t, authority())
	if err := p.give(first); err != nil {
		t.Fatal(err)
	}
	p.proves()
	if !p.holds(first) {
		t.Error("what is stored is not what was given")
	}

	next := must(testenv.NewAuthority("next"))
	both := first.With(next)
	if err := p.Trust(both.Roots); err != nil {
		t.Fatal(err)
	}
	p.proves()
	about := p.Status().Certificate
	if !p.holds(both) || about.Generation != 2 || len(about.Trusted) != 2 || about.Trusted[0] != about.Root && about.Trusted[1] != about.Root {
		t.Errorf("with another root the certificate is %+v", about)
	}
	if changes := p.changed(); len(changes) != 2 || changes[0].Root != about.Root || len(changes[0].Trusted) != 1 {
		t.Errorf("the changes told are %+v", changes)
	}
}

// What is given is judged as what is mounted is.
func TestWhatIsGivenIsChecked(t *testing.T) {
	p, good := unmounted(t), issue(t, authority())
	if err := p.Trust(good.Roots); !errors.Is(err, certs.ErrNoCertificate) {
		t.Errorf("roots without a certificate: %v", err)
	}
	if err := p.give(good); err != nil {
		t.Fatal(err)
	}
	foreign := issue(t, must(testenv.NewAuthority("foreign")))
	for want, attempt := range map[string]func() error{
		"key.pem is not the key of the certificate in cert-chain.pem":    func() error { return p.Give(foreign.Key, good.Chain, good.Roots) },
		"cert-chain.pem does not lead to a certificate in root-cert.pem": func() error { return p.Trust(foreign.Roots) },
		"root-cert.pem is empty": func() error { return p.Trust(nil) },
		"cert-chain.pem holds no certificate, but PRIVATE KEY: perhaps two": func() error { return p.Give(good.Key, good.Key, good.Roots) },
	} {
		err := attempt()
		if err == nil || !strings.Contains(err.Error(), want) || p.Status().Complaint != err.Error() {
			t.Errorf("the error is %v, the complaint %q, want: %s", err, p.Status().Complaint, want)
		}
	}
	if !p.holds(good) || len(p.changed()) != 1 {
		t.Error("what was served is no longer")
	}
	if err := p.Trust(good.Roots); err != nil || p.Status().Complaint != "" {
		t.Errorf("the roots that are served: %v, complaint %q", err, p.Status().Complaint)
	}
	if logged := p.logged(); strings.Contains(logged, "PRIVATE KEY-") || bytes.Contains([]byte(logged), good.Key[40:80]) {
		t.Errorf("a key is in the log:\n%s", logged)
	}
}
