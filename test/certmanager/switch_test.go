package certmanager

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/rollover"
)

// The whole way, under constant load by mutual TLS: to an issuer that does not exist yet, to it
// once it does, and back after it has vanished.
func TestTheMeshMovesToAnIssuerAndBack(t *testing.T) {
	asked := watchRequests(t)
	use(t, "")
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "reviews"}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "reviews"}, Ports: []corev1.ServicePort{{Name: "http", Port: 9080}},
	}}
	if _, err := cluster.kubernetes.CoreV1().Services(shop).Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	workloads := []*workload{runWorkload(t, "front"), runWorkload(t, "reviews")}
	for _, w := range workloads {
		w.awaitReady()
	}
	var builtin string
	eventually(t, "both are proven to serve the built-in authority's certificates", func() error {
		status, err := workloads[0].certificate()
		if err != nil || status.Certificate == nil {
			return fmt.Errorf("%+v, %w", status, err)
		}
		builtin = status.Certificate.Root
		return provenOn(workloads, builtin)
	})
	l, stop := startLoad(workloads[0], "http://reviews:9080/")
	defer stop()
	eventually(t, "the load is carried", func() error {
		if l.sent.Load() < 50 {
			return errors.New("it has not begun")
		}
		return nil
	})

	theirs := newAuthority(t, "mesh-ca", resources)
	root, object := types.NamespacedName{Namespace: system, Name: "mesh-root"}, types.NamespacedName{Namespace: shop, Name: "outside"}
	missing := func(of types.NamespacedName, issuer string) func() error {
		return func() error {
			return told(t, of, v1alpha1.ConditionResolvedRefs, "False", "there is no "+issuer+"; create the issuer")
		}
	}
	use(t, "mesh-ca")
	eventually(t, "the mesh's missing issuer is told", missing(root, "ClusterIssuer mesh-ca"))
	clusterIssuer(t, "mesh-ca", authorityConfig("mesh-ca"))
	// Meanwhile, a certificate of an issuer of its own, which does not exist yet either.
	outside(t)
	eventually(t, "the object's missing issuer is told", missing(object, "Issuer shop/outside-ca"))
	own := newAuthority(t, "outside-ca", shop)
	local := &cmapi.Issuer{ObjectMeta: metav1.ObjectMeta{Name: "outside-ca"}, Spec: cmapi.IssuerSpec{IssuerConfig: authorityConfig("outside-ca")}}
	if _, err := cluster.cm.CertmanagerV1().Issuers(shop).Create(t.Context(), local, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	stableOn(t, "ClusterIssuer/mesh-ca")
	if err := provenOn(workloads, pki.RootID(theirs)); err != nil {
		t.Error("on the issuer:", err)
	}
	for name, by := range map[string]*x509.Certificate{"fairlead.front": theirs, "fairlead.reviews": theirs, "outside": own} {
		eventually(t, "the Secret "+name+" is the issuer's", func() error { return secretOf(t, name, by) })
	}
	eventually(t, "the object of its own issuer is ready", func() error { return told(t, object, v1alpha1.ConditionReady, "True", "") })

	// It vanishes, and somebody wants a certificate.
	if err := cluster.cm.CertmanagerV1().ClusterIssuers().Delete(t.Context(), "mesh-ca", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.kubernetes.CoreV1().ServiceAccounts(shop).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "late"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the vanished issuer is told", missing(root, "ClusterIssuer mesh-ca"))
	if err := provenOn(workloads, pki.RootID(theirs)); err != nil {
		t.Error("without the issuer:", err)
	}
	use(t, "")
	stableOn(t, pki.SourceBuiltin)
	eventually(t, "the built-in authority's certificates are back", func() error {
		status, err := workloads[0].certificate()
		if err != nil || status.Certificate.Root == builtin || status.Certificate.Root == pki.RootID(theirs) {
			return fmt.Errorf("its root is %s: %w", status.Certificate.Root, err)
		}
		return provenOn(workloads, status.Certificate.Root)
	})
	eventually(t, "the Secret of the other issuer has the mesh's roots of now, and its own", func() error {
		status, err := workloads[0].certificate()
		if err != nil {
			return err
		}
		return trustedBy(t, "outside", status.Certificate.Root, pki.RootID(own))
	})
	eventually(t, "who had to wait has a certificate", func() error { return secretOf(t, "fairlead.late", nil) })

	stop()
	if failed := l.failed.Load(); failed > 0 {
		t.Errorf("%d of %d requests failed, the first with: %v", failed, l.sent.Load(), l.first.Load())
	}
	for _, w := range workloads {
		if failed := w.counted(failedHandshakes); failed > 0 {
			t.Errorf("%d handshakes of %s failed", failed, w.name)
		}
	}
	made, requests := workloads[1].counted(connections), asked()
	if made < 10 {
		t.Errorf("there were %d connections only: none was made anew", made)
	}
	t.Logf("%d requests by %d connections; %d CertificateRequests", l.sent.Load(), made, len(requests))
	for name, uris := range requests {
		if len(uris) != 1 || !strings.HasPrefix(uris[0], "spiffe://cluster.local/ns/") {
			t.Errorf("CertificateRequest %s is for %v", name, uris)
		}
	}
	if len(requests) < 5 {
		t.Errorf("few were asked for: %v", requests)
	}
}

// provenOn says whether every proxy is proven to serve a certificate of a root, and to trust
// that root only.
func provenOn(workloads []*workload, root string) error {
	for _, w := range workloads {
		status, err := w.certificate()
		switch {
		case err != nil:
			return err
		case status.Certificate == nil || status.Proven.IsZero():
			return fmt.Errorf("%s has not proven its certificate: %+v", w.name, status)
		case status.Certificate.Root != root || !slices.Equal(status.Certificate.Trusted, []string{root}):
			return fmt.Errorf("%s has a certificate of %s and trusts %v, not %s only", w.name, status.Certificate.Root, status.Certificate.Trusted, root)
		}
	}
	return nil
}

// outside asks for a certificate by an Issuer of the namespace, for use outside the mesh.
func outside(t *testing.T) {
	t.Helper()
	object := &v1alpha1.MeshCertificate{ObjectMeta: metav1.ObjectMeta{Name: "outside"}, Spec: v1alpha1.MeshCertificateSpec{
		ServiceAccount: "reviews", SecretName: "outside", IssuerRef: &v1alpha1.IssuerReference{Kind: "Issuer", Name: "outside-ca"},
	}}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	made := &unstructured.Unstructured{Object: content}
	made.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MeshCertificate"))
	if _, err := cluster.dynamic.Resource(meshCertificates).Namespace(shop).Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

var meshCertificates = v1alpha1.GroupVersion.WithResource("meshcertificates")

func meshCertificate(t *testing.T, of types.NamespacedName) (*v1alpha1.MeshCertificate, error) {
	found, err := cluster.dynamic.Resource(meshCertificates).Namespace(of.Namespace).Get(t.Context(), of.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	object := &v1alpha1.MeshCertificate{}
	return object, runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, object)
}

// told says whether a condition is as it should be.
func told(t *testing.T, of types.NamespacedName, kind, status, words string) error {
	object, err := meshCertificate(t, of)
	if err != nil {
		return err
	}
	for _, c := range object.Status.Conditions {
		if c.Type == kind && string(c.Status) == status && strings.Contains(c.Message, words) {
			return nil
		}
	}
	return fmt.Errorf("%s says %+v", of, object.Status.Conditions)
}

// stableOn waits until a change of the root to an issuer has come to its end.
func stableOn(t *testing.T, issuer string) {
	t.Helper()
	began := time.Now()
	eventually(t, "the root is of "+issuer, func() error {
		object, err := meshCertificate(t, types.NamespacedName{Namespace: system, Name: "mesh-root"})
		if err == nil && (object.Status.Issuer != issuer || object.Status.Phase == nil || object.Status.Phase.Name != string(rollover.Stable)) {
			err = fmt.Errorf("mesh-root is %s, %+v, %+v", object.Status.Issuer, object.Status.Phase, object.Status.Conditions)
		}
		return err
	})
	t.Logf("the root is of %s after %s", issuer, time.Since(began).Round(time.Second))
}

// secretOf says whether a Secret has a certificate of a root; nil: of any.
func secretOf(t *testing.T, name string, root *x509.Certificate) error {
	secret, err := cluster.kubernetes.CoreV1().Secrets(shop).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	identity, err := pki.ParseIdentity(secret.Annotations[v1alpha1.IdentityAnnotation])
	if err != nil {
		return err
	}
	about, err := pki.CheckSecret(secret.Data, identity, secret.Data[pki.RootsFile], time.Now())
	if err == nil && root != nil && about.Root != pki.RootID(root) {
		err = fmt.Errorf("it leads to %s", about.Root)
	}
	return err
}

// trustedBy says whether a Secret brings these roots and no others.
func trustedBy(t *testing.T, name string, roots ...string) error {
	secret, err := cluster.kubernetes.CoreV1().Secrets(shop).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	found, err := pki.ParseCertificates(secret.Data[pki.RootsFile])
	slices.Sort(roots)
	if err == nil && !slices.Equal(pki.RootIDs(found), roots) {
		err = fmt.Errorf("it brings %v, not %v", pki.RootIDs(found), roots)
	}
	return err
}

// watchRequests notes the identities that each of our requests is for, until the test ends.
func watchRequests(t *testing.T) func() map[string][]string {
	t.Helper()
	events, err := cluster.cm.CertmanagerV1().CertificateRequests("").Watch(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=fairlead"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[string][]string{}
	var watching sync.WaitGroup
	watching.Go(func() {
		for event := range events.ResultChan() {
			r, ok := event.Object.(*cmapi.CertificateRequest)
			if !ok {
				continue
			}
			uris := []string{}
			if block, _ := pem.Decode(r.Spec.Request); block != nil {
				if csr, err := x509.ParseCertificateRequest(block.Bytes); err == nil {
					for _, uri := range csr.URIs {
						uris = append(uris, uri.String())
					}
				}
			}
			mu.Lock()
			seen[r.Namespace+"/"+r.Name] = uris
			mu.Unlock()
		}
	})
	t.Cleanup(func() {
		events.Stop()
		watching.Wait()
	})
	return func() map[string][]string {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}
