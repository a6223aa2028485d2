package certmanager

import (
	"strings"
	"sync"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/certmanager"
)

func TestAClusterIssuerOfTheTypeCAIssuesForEveryKindOfKey(t *testing.T) {
	root := clusterIssuerWithAuthority(t, "mesh")
	o := options("ClusterIssuer", "mesh", approving)
	for _, algorithm := range []pki.KeyAlgorithm{pki.ECDSAP256, pki.ECDSAP384, pki.RSA2048, pki.Ed25519} {
		key := newKey(t, algorithm)
		request := pki.Request{Identity: reviews, PublicKey: key.Public(), Lifetime: 2160 * time.Hour}
		chain, roots, err := issueFor(t, o, request, key)
		if err != nil {
			t.Fatal(algorithm, err)
		}
		if len(chain) != 1 || len(roots) != 1 || !roots[0].Equal(root) {
			t.Errorf("%s: a chain of %d, and %d roots: %v", algorithm, len(chain), len(roots), roots)
		}
		if lifetime := chain[0].NotAfter.Sub(chain[0].NotBefore).Round(time.Minute); lifetime != request.Lifetime {
			t.Errorf("%s: valid for %s", algorithm, lifetime)
		}
		// What a proxy gets is taken by the rules for Secrets, and the root makes a generation.
		files, err := pki.Files(key, pki.EncodeCertificates(chain...), pki.EncodeCertificates(roots...))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pki.CheckSecret(files, reviews, pki.EncodeCertificates(root), time.Now()); err != nil {
			t.Errorf("%s: %s", algorithm, err)
		}
	}
	if name := certmanager.New(o).Name(); name != "ClusterIssuer/mesh" {
		t.Errorf("its name is %s", name)
	}
}

func TestAnIssuerOfANamespaceIssuesThere(t *testing.T) {
	newAuthority(t, "local", approving)
	i := &cmapi.Issuer{ObjectMeta: metav1.ObjectMeta{Name: "local"}, Spec: cmapi.IssuerSpec{IssuerConfig: authorityConfig("local")}}
	if _, err := cluster.cm.CertmanagerV1().Issuers(approving).Create(t.Context(), i, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	o := options("", "local", approving)
	if _, _, _, err := issue(t, o); err != nil {
		t.Error(err)
	}
	if name := certmanager.New(o).Name(); name != "Issuer/mesh/local" {
		t.Errorf("its name is %s", name)
	}
}

// Approval by a person takes longer than a call waits: the request stays, is named, and the
// next call for the same gets what came of it.
func TestARequestThatIsNotDecidedOnIsFoundAgain(t *testing.T) {
	clusterIssuerWithAuthority(t, "mesh")
	o := options("ClusterIssuer", "mesh", strict)
	o.Timeout = time.Second
	pending, err := new(pki.Pending).Ask(pki.ECDSAP256, pki.Request{Identity: reviews, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for range 2 {
		_, _, err = certmanager.New(o).Issue(t.Context(), pending.Request, pending.CSR)
		left := requestsIn(t, strict)
		if len(left) != 1 || reasonOf(t, err) != pki.NotReady || !strings.Contains(err.Error(), "CertificateRequest strict/"+left[0].Name) {
			t.Fatal(left, err)
		}
		names = append(names, string(left[0].UID))
	}
	if names[0] != names[1] {
		t.Error("the second call made a request of its own")
	}
	decide(t, strict, func(r *cmapi.CertificateRequest) {
		condition(r, cmapi.CertificateRequestConditionApproved, cmmeta.ConditionTrue, "person", "fine")
	})
	o.Timeout = 20 * time.Second
	if _, _, err := certmanager.New(o).Issue(t.Context(), pending.Request, pending.CSR); err != nil || len(requestsIn(t, strict)) > 0 {
		t.Error(err)
	}
}

func TestASelfSignedIssuerIsRefusedWithTheReason(t *testing.T) {
	_, _, _, err := issue(t, options("ClusterIssuer", selfSigned(t), approving))
	if reasonOf(t, err) != pki.Invalid || pki.Retryable(err) || !strings.Contains(err.Error(), "nobody could trust it") {
		t.Error(err)
	}
}

func TestAVanishedIssuerIsMissedAndThenUsed(t *testing.T) {
	o := options("ClusterIssuer", "late", approving)
	o.Timeout = 2 * time.Second
	_, _, _, err := issue(t, o)
	if reasonOf(t, err) != pki.Missing || !pki.Retryable(err) || !strings.Contains(err.Error(), "name another in issuerRef") {
		t.Error(err)
	}
	newAuthority(t, "late", resources)
	clusterIssuer(t, "late", authorityConfig("late"))
	o.Timeout = 20 * time.Second
	if _, _, _, err := issue(t, o); err != nil {
		t.Error(err)
	}
	if reasonOf(t, errBeforeInstall) != pki.Missing || !strings.Contains(errBeforeInstall.Error(), "install cert-manager") {
		t.Error("without cert-manager:", errBeforeInstall)
	}
}

func TestWhyNothingWasIssuedIsTold(t *testing.T) {
	external := options("Signer", "theirs", strict)
	external.Group = "example.com"
	approve := func(r *cmapi.CertificateRequest) {
		condition(r, cmapi.CertificateRequestConditionApproved, cmmeta.ConditionTrue, "policy", "as agreed")
	}
	for name, c := range map[string]struct {
		decide func(*cmapi.CertificateRequest)
		reason pki.IssueReason
		words  string
	}{
		"denied": {func(r *cmapi.CertificateRequest) {
			condition(r, cmapi.CertificateRequestConditionDenied, cmmeta.ConditionTrue, "policy", "not this service account")
		}, pki.Denied, "not this service account"},
		"called invalid": {func(r *cmapi.CertificateRequest) {
			condition(r, cmapi.CertificateRequestConditionInvalidRequest, cmmeta.ConditionTrue, "duration", "too long")
		}, pki.Invalid, "too long"},
		"failed": {func(r *cmapi.CertificateRequest) {
			approve(r)
			condition(r, cmapi.CertificateRequestConditionReady, cmmeta.ConditionFalse, cmapi.CertificateRequestReasonFailed, "the device is on fire")
		}, pki.Failed, "the device is on fire"},
		"never approved": {func(*cmapi.CertificateRequest) {}, pki.NotReady, "nobody has approved CertificateRequest strict/"},
		"never signed":   {approve, pki.NotReady, `for Signer "theirs" of group example.com`},
		"signed and not approved": {func(r *cmapi.CertificateRequest) {
			condition(r, cmapi.CertificateRequestConditionReady, cmmeta.ConditionTrue, cmapi.CertificateRequestReasonIssued, "done")
		}, pki.NotReady, "nobody has approved CertificateRequest strict/"},
		"signed without a certificate": {func(r *cmapi.CertificateRequest) {
			approve(r)
			condition(r, cmapi.CertificateRequestConditionReady, cmmeta.ConditionTrue, cmapi.CertificateRequestReasonIssued, "done")
		}, pki.Invalid, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			o := external
			if c.reason == pki.NotReady {
				o.Timeout = 2 * time.Second
			}
			var deciding sync.WaitGroup
			deciding.Go(func() { decide(t, strict, c.decide) })
			_, _, _, err := issue(t, o)
			deciding.Wait()
			if reasonOf(t, err) != c.reason || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestARequestThatSomebodyDeletesIsNotWaitedFor(t *testing.T) {
	var deleting sync.WaitGroup
	deleting.Go(func() {
		r := awaitRequest(t, strict, func(r *cmapi.CertificateRequest) bool {
			return r.Annotations["mesh.fairlead.dev/identity"] == reviews.String()
		})
		if err := cluster.cm.CertmanagerV1().CertificateRequests(strict).Delete(t.Context(), r.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	_, _, _, err := issue(t, options("ClusterIssuer", "mesh", strict))
	deleting.Wait()
	if reasonOf(t, err) != pki.Failed || !strings.Contains(err.Error(), "deleted by somebody") {
		t.Error(err)
	}
}

// An issuer outside may answer with anything.
func TestACertificateThatWasNotAskedForIsNotTaken(t *testing.T) {
	authority, err := pki.NewGeneration(1, "cluster.local", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	root := pki.EncodeCertificates(authority.Root)
	other, err := pki.NewGeneration(1, "cluster.local", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	stranger := newKey(t, pki.ECDSAP256).Public()
	for name, c := range map[string]struct {
		change func(*pki.Request)
		ca     []byte
		words  string
	}{
		"as asked for":            {func(*pki.Request) {}, root, ""},
		"another account":         {func(r *pki.Request) { r.Identity.ServiceAccount = "ratings" }, root, "it is for spiffe://cluster.local/ns/shop/sa/ratings"},
		"another key":             {func(r *pki.Request) { r.PublicKey = stranger }, root, "another key"},
		"a name besides":          {func(r *pki.Request) { r.DNSNames = []string{"bank.example"} }, root, "names that were not asked for"},
		"another root":            {func(*pki.Request) {}, pki.EncodeCertificates(other.Root), "does not lead to the issuer's root"},
		"a root that is not told": {func(*pki.Request) {}, nil, "does not tell its root"},
	} {
		t.Run(name, func(t *testing.T) {
			key := newKey(t, pki.ECDSAP256)
			asked := pki.Request{Identity: reviews, PublicKey: key.Public(), Lifetime: time.Hour / 2}
			answered := asked
			c.change(&answered)
			_, chain, err := authority.Sign(answered, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			o := options("Signer", "theirs", strict)
			o.Group = "example.com"
			var signing sync.WaitGroup
			signing.Go(func() {
				decide(t, strict, func(r *cmapi.CertificateRequest) {
					r.Status.Certificate, r.Status.CA = chain, c.ca
					condition(r, cmapi.CertificateRequestConditionApproved, cmmeta.ConditionTrue, "policy", "as agreed")
					condition(r, cmapi.CertificateRequestConditionReady, cmmeta.ConditionTrue, cmapi.CertificateRequestReasonIssued, "done")
				})
			})
			got, roots, err := issueFor(t, o, asked, key)
			signing.Wait()
			switch {
			case c.words != "":
				if err == nil || !strings.Contains(err.Error(), c.words) {
					t.Error(err)
				}
			case err != nil || len(got) != 2 || len(roots) != 1 || !roots[0].Equal(authority.Root):
				t.Errorf("a chain of %d, roots %v: %v", len(got), roots, err)
			}
		})
	}
}

func TestOnlyTheIdentityIsAskedFor(t *testing.T) {
	key := newKey(t, pki.ECDSAP256)
	request := pki.Request{Identity: reviews, PublicKey: key.Public(), Lifetime: time.Hour}
	other := request
	other.Identity.Namespace = "bank"
	named := request
	named.DNSNames = []string{"bank.example"}
	for name, wrong := range map[string]pki.Request{"another identity": other, "a DNS name": named} {
		csr, err := pki.NewCSR(key, wrong)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = certmanager.New(options("ClusterIssuer", "mesh", approving)).Issue(t.Context(), request, csr)
		if reasonOf(t, err) != pki.Invalid || !strings.Contains(err.Error(), "and nothing else that was not asked for") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRequestsOfAManagerThatDiedAreSwept(t *testing.T) {
	request := &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "left", Namespace: strict, Labels: map[string]string{"app.kubernetes.io/managed-by": "fairlead"}},
		Spec:       cmapi.CertificateRequestSpec{Request: []byte("x"), IssuerRef: cmmeta.IssuerReference{Name: "mesh"}},
	}
	if _, err := cluster.cm.CertmanagerV1().CertificateRequests(strict).Create(t.Context(), request, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		before time.Time
		left   int
	}{{time.Now().Add(-time.Hour), 1}, {time.Now().Add(time.Hour), 0}} {
		if err := certmanager.Sweep(t.Context(), cluster.dynamic, c.before); err != nil {
			t.Fatal(err)
		}
		if found := requestsIn(t, strict); len(found) != c.left {
			t.Errorf("of those from before %s, %d are left", c.before, len(found))
		}
	}
}
