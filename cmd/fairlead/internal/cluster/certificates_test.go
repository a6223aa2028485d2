package cluster

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"fairlead.dev/fairlead/cmd/fairlead/internal/datadir"
)

var now = time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)

func parse(t *testing.T, content []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(content)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestAuthorityStays(t *testing.T) {
	folder := t.TempDir()
	first, err := loadAuthority(folder, now)
	if err != nil {
		t.Fatal(err)
	}
	second, err := loadAuthority(folder, now.Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if !first.certificate.Equal(second.certificate) {
		t.Error("a copied kubeconfig would not work after the next start")
	}
	late, err := loadAuthority(folder, now.Add(authorityLifetime-24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if late.certificate.Equal(first.certificate) {
		t.Error("an authority about to end was kept")
	}
}

func TestCertificates(t *testing.T) {
	ca, err := loadAuthority(t.TempDir(), now)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.certificate)
	server, err := ca.server(now)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"127.0.0.1", "localhost", "kubernetes.default.svc"} {
		_, err := parse(t, server.certificate).Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: now})
		if err != nil {
			t.Error(err)
		}
	}
	client, err := ca.client("somebody", []string{"a", "b"}, now)
	if err != nil {
		t.Fatal(err)
	}
	certificate := parse(t, client.certificate)
	_, err = certificate.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		t.Error(err)
	}
	if certificate.Subject.CommonName != "somebody" || len(certificate.Subject.Organization) != 2 || certificate.IsCA {
		t.Errorf("%s, CA %t", certificate.Subject, certificate.IsCA)
	}
	if _, err := certificate.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now}); err == nil {
		t.Error("a client's certificate is good for a server")
	}
}

func TestSpoiltAuthority(t *testing.T) {
	folder := t.TempDir()
	if _, err := loadAuthority(folder, now); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "ca.key"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadAuthority(folder, now); err == nil || !strings.Contains(err.Error(), "remove that folder") {
		t.Errorf("said: %v", err)
	}
}

func TestAccess(t *testing.T) {
	dir, err := datadir.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	granted, err := grantAccess(dir, 16443, now)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]struct{ user, groups string }{
		dir.Kubeconfig():          {"fairlead-admin", "system:masters"},
		granted.manager:           {"system:serviceaccount:fairlead-system:fairlead-manager", "system:serviceaccounts,system:serviceaccounts:fairlead-system"},
		granted.controllerManager: {"system:kube-controller-manager", ""},
	} {
		config, err := clientcmd.BuildConfigFromFlags("", file)
		if err != nil {
			t.Fatal(err)
		}
		subject := parse(t, config.CertData).Subject
		if subject.CommonName != want.user || strings.Join(subject.Organization, ",") != want.groups {
			t.Errorf("%s is for %s", file, subject)
		}
		if config.Host != "https://127.0.0.1:16443" || config.Insecure || len(config.CAData) == 0 {
			t.Errorf("%s: %+v", file, config)
		}
	}
	for _, folder := range []string{dir.PKI(), dir.Path()} {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if info, err := entry.Info(); err != nil || info.Mode().IsRegular() && info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", entry.Name(), info.Mode(), err)
			}
		}
	}
}

func TestDefinitions(t *testing.T) {
	crds, manager, err := definitions()
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, object := range manager {
		kinds = append(kinds, object.GetKind())
	}
	if got := strings.Join(kinds, ","); len(crds) < 2 || got != "Namespace,ServiceAccount,ClusterRole,Role,ClusterRoleBinding,RoleBinding" {
		t.Errorf("%d CRDs, and %s", len(crds), got)
	}
}
