package certmanager

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/settings"
)

// The authority behind the mesh's issuer was changed: nothing that leads to the new root is
// passed on before the mesh trusts it, and the mesh hears of it.
func TestANewRootBehindAnIssuerIsRefusedAndWanted(t *testing.T) {
	root := newAuthority(t, "moving", resources)
	clusterIssuer(t, "moving", authorityConfig("moving"))
	held := settings.NewHolder()
	inForce, err := settings.Parse([]byte("certificates: {timeZone: Etc/UTC, issuerRef: {kind: ClusterIssuer, name: moving}}"))
	if err != nil {
		t.Fatal(err)
	}
	held.Set(inForce)
	issuers := &controllers.Issuers{
		Settings: held, Source: pki.NewSource(), Client: cluster.dynamic, Clock: clock.RealClock{},
		Identity: pki.Identity{TrustDomain: "cluster.local", Namespace: approving, ServiceAccount: "fairlead-manager"},
	}
	first, err := issuers.Generation(t.Context(), issuers.Wanted())
	if err != nil || !first.Root.Equal(root) || first.Source != "ClusterIssuer/moving" {
		t.Fatalf("%+v, %v", first, err)
	}
	first.Number = 1
	authority, err := pki.NewAuthority(first)
	if err != nil {
		t.Fatal(err)
	}
	issuers.Source.Set(authority)
	var pending *pki.Pending
	ask := func() error {
		if pending, err = pending.Ask(pki.ECDSAP256, pki.Request{Identity: reviews, Lifetime: time.Hour}); err != nil {
			t.Fatal(err)
		}
		_, _, err := issuers.IssueForMesh(t.Context(), pending.Request, pending.CSR)
		return err
	}
	if err := ask(); err != nil || issuers.Wanted().Root != pki.RootID(root) {
		t.Fatal(err)
	}

	other := newAuthority(t, "moved", resources)
	secret, err := cluster.kubernetes.CoreV1().Secrets(resources).Get(t.Context(), "moved", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret.ObjectMeta = metav1.ObjectMeta{Name: "moving", Namespace: resources}
	if _, err := cluster.kubernetes.CoreV1().Secrets(resources).Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "cert-manager signs with the other one", func() error {
		if err = ask(); err == nil {
			return errors.New("it was taken")
		}
		return nil
	})
	if reasonOf(t, err) != pki.NotReady || !strings.Contains(err.Error(), "until every proxy trusts that") {
		t.Error(err)
	}
	if wanted := issuers.Wanted(); wanted.Root != pki.RootID(other) {
		t.Errorf("%+v is wanted", wanted)
	}
	second, err := issuers.Generation(t.Context(), issuers.Wanted())
	if err != nil || !second.Root.Equal(other) {
		t.Fatalf("%+v, %v", second, err)
	}
	second.Number = 2
	for _, step := range []func(*pki.Authority) (*pki.Authority, error){
		func(a *pki.Authority) (*pki.Authority, error) { return a.Add(second) },
		func(a *pki.Authority) (*pki.Authority, error) { return a.Trust(2) },
		func(a *pki.Authority) (*pki.Authority, error) { return a.Activate(2) },
	} {
		if err := ask(); err == nil {
			t.Error("something was issued before the root was active")
		}
		if authority, err = step(authority); err != nil {
			t.Fatal(err)
		}
		issuers.Source.Set(authority)
	}
	if err := ask(); err != nil {
		t.Error(err)
	}
}
