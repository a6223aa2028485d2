package certmanager

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/certmanager"
)

var reviews = pki.Identity{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "reviews"}

// errBeforeInstall is what an issuer says as long as cert-manager is not there.
var errBeforeInstall error

func withoutCertManager() (said, err error) {
	key, err := pki.ECDSAP256.NewKey()
	if err != nil {
		return nil, err
	}
	request := pki.Request{Identity: reviews, PublicKey: key.Public(), Lifetime: time.Hour}
	csr, err := pki.NewCSR(key, request)
	if err != nil {
		return nil, err
	}
	_, _, said = certmanager.New(options("ClusterIssuer", "mesh", approving)).Issue(context.Background(), request, csr)
	return said, nil
}

func options(kind, name, namespace string) certmanager.Options {
	return certmanager.Options{
		Kind: kind, Name: name, Namespace: namespace, Timeout: 20 * time.Second, Client: cluster.dynamic, Clock: clock.RealClock{},
	}
}

// issue asks for a certificate for reviews, valid for a day.
func issue(t *testing.T, o certmanager.Options) (request pki.Request, chain, roots []*x509.Certificate, err error) {
	t.Helper()
	key := newKey(t, pki.ECDSAP256)
	request = pki.Request{Identity: reviews, PublicKey: key.Public(), Lifetime: 24 * time.Hour}
	chain, roots, err = issueFor(t, o, request, key)
	return request, chain, roots, err
}

func issueFor(t *testing.T, o certmanager.Options, request pki.Request, key crypto.Signer) (chain, roots []*x509.Certificate, err error) {
	t.Helper()
	csr, err := pki.NewCSR(key, request)
	if err != nil {
		t.Fatal(err)
	}
	chainPEM, rootsPEM, err := certmanager.New(o).Issue(t.Context(), request, csr)
	left := requestsIn(t, o.Namespace)
	for _, request := range left {
		// It may still be decided on.
		if err := cluster.cm.CertmanagerV1().CertificateRequests(o.Namespace).Delete(t.Context(), request.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	undecided := err != nil && (reasonOf(t, err) == pki.NotReady || reasonOf(t, err) == pki.Missing)
	if (len(left) > 0) != undecided {
		t.Errorf("%d requests were left behind: %v", len(left), err)
	}
	if err != nil {
		return nil, nil, err
	}
	if chain, err = pki.ParseCertificates(chainPEM); err != nil {
		t.Fatal(err)
	}
	if roots, err = pki.ParseCertificates(rootsPEM); err != nil {
		t.Fatal(err)
	}
	return chain, roots, nil
}

// requestsIn are ours in a namespace.
func requestsIn(t *testing.T, namespace string) []cmapi.CertificateRequest {
	t.Helper()
	found, err := cluster.cm.CertmanagerV1().CertificateRequests(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=fairlead"})
	if err != nil {
		t.Fatal(err)
	}
	return found.Items
}

func newKey(t *testing.T, algorithm pki.KeyAlgorithm) crypto.Signer {
	t.Helper()
	key, err := algorithm.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// reasonOf is why nothing was issued.
func reasonOf(t *testing.T, err error) pki.IssueReason {
	t.Helper()
	var known *pki.IssueError
	if !errors.As(err, &known) {
		t.Fatalf("the error is %v, and no issuer's", err)
	}
	return known.Reason
}

// newAuthority has cert-manager's self-signed issuer make a root, as its documentation tells
// people to, and puts it into a Secret for an issuer of the type ca.
func newAuthority(t *testing.T, name, namespace string) *x509.Certificate {
	t.Helper()
	key := newKey(t, pki.ECDSAP256)
	encoded, err := pki.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	secret(t, approving, name+"-key", map[string][]byte{"tls.key": encoded, "tls.crt": nil})
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	request := &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: approving,
			Annotations: map[string]string{cmapi.CertificateRequestPrivateKeyAnnotationKey: name + "-key"},
		},
		Spec: cmapi.CertificateRequestSpec{
			Request:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}),
			IsCA:      true,
			Duration:  &metav1.Duration{Duration: 365 * 24 * time.Hour},
			Usages:    []cmapi.KeyUsage{cmapi.UsageCertSign},
			IssuerRef: cmmeta.IssuerReference{Kind: "ClusterIssuer", Name: selfSigned(t)},
		},
	}
	if _, err := cluster.cm.CertmanagerV1().CertificateRequests(approving).Create(t.Context(), request, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	signed := awaitRequest(t, approving, func(r *cmapi.CertificateRequest) bool {
		return r.Name == name && apiutil.CertificateRequestReadyReason(r) == cmapi.CertificateRequestReasonIssued
	})
	secret(t, namespace, name, map[string][]byte{"tls.crt": signed.Status.Certificate, "tls.key": encoded})
	root, err := pki.ParseCertificates(signed.Status.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return root[0]
}

func secret(t *testing.T, namespace, name string, data map[string][]byte) {
	t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Type: corev1.SecretTypeTLS, Data: data}
	if _, err := cluster.kubernetes.CoreV1().Secrets(namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func selfSigned(t *testing.T) string {
	t.Helper()
	name := "self-signed"
	clusterIssuer(t, name, cmapi.IssuerConfig{SelfSigned: &cmapi.SelfSignedIssuer{}})
	return name
}

func authorityConfig(secretName string) cmapi.IssuerConfig {
	return cmapi.IssuerConfig{CA: &cmapi.CAIssuer{SecretName: secretName}}
}

// clusterIssuer makes one if there is none of the name.
func clusterIssuer(t *testing.T, name string, config cmapi.IssuerConfig) {
	t.Helper()
	i := &cmapi.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: cmapi.IssuerSpec{IssuerConfig: config}}
	_, err := cluster.cm.CertmanagerV1().ClusterIssuers().Get(t.Context(), name, metav1.GetOptions{})
	if err == nil {
		return
	}
	if _, err := cluster.cm.CertmanagerV1().ClusterIssuers().Create(t.Context(), i, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// clusterIssuerWithAuthority makes an issuer of the type ca, once, and returns its root.
func clusterIssuerWithAuthority(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	there, err := cluster.kubernetes.CoreV1().Secrets(resources).Get(t.Context(), name, metav1.GetOptions{})
	if err == nil {
		root, err := pki.ParseCertificates(there.Data["tls.crt"])
		if err != nil {
			t.Fatal(err)
		}
		return root[0]
	}
	root := newAuthority(t, name, resources)
	clusterIssuer(t, name, authorityConfig(name))
	return root
}

// awaitRequest returns the first request, as it is or becomes, that is as told.
func awaitRequest(t *testing.T, namespace string, as func(*cmapi.CertificateRequest) bool) *cmapi.CertificateRequest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	events, err := cluster.cm.CertmanagerV1().CertificateRequests(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		if r, isRequest := event.Object.(*cmapi.CertificateRequest); isRequest && event.Type != watch.Deleted && as(r) {
			return r
		}
	}
	t.Error("no request came to be as it should")
	return nil
}

// decide plays whoever approves, denies or signs: it changes the status of the next request for
// reviews in a namespace.
func decide(t *testing.T, namespace string, change func(*cmapi.CertificateRequest)) {
	t.Helper()
	r := awaitRequest(t, namespace, func(r *cmapi.CertificateRequest) bool { return r.Labels["app.kubernetes.io/managed-by"] == "fairlead" })
	if r == nil {
		return
	}
	change(r)
	if _, err := cluster.cm.CertmanagerV1().CertificateRequests(namespace).UpdateStatus(t.Context(), r, metav1.UpdateOptions{}); err != nil {
		t.Error(err)
	}
}

func condition(r *cmapi.CertificateRequest, kind cmapi.CertificateRequestConditionType, status cmmeta.ConditionStatus, reason, message string) {
	apiutil.SetCertificateRequestCondition(r, kind, status, reason, message)
}
