package certs_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/test/testenv"
)

func names(t testing.TB, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		found = append(found, entry.Name())
	}
	return found
}

func TestPrepareTakesWhatIsMounted(t *testing.T) {
	for name, mount := range map[string]func(*place, testenv.Credentials){"a secret": (*place).secret, "a plain folder": (*place).plain} {
		t.Run(name, func(t *testing.T) {
			p, c := newPlace(t), issue(t, authority())
			mount(p, c)
			p.prepare()
			if !p.holds(c) {
				t.Error("what is stored is not what is mounted")
			}
			status := p.Status()
			if status.Complaint != "" || status.Certificate == nil || status.Certificate.Generation != 1 || !status.Proven.IsZero() {
				t.Errorf("the status is %+v", status)
			}
			if len(p.changed()) != 0 {
				t.Error("Changed was called before anything ran")
			}
		})
	}
}

func TestPrepareEmptiesTheFolder(t *testing.T) {
	p := newPlace(t)
	folder := p.Paths().Folder
	if err := os.MkdirAll(filepath.Join(folder, "..7", "inside"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..7", filepath.Join(folder, "current")); err != nil {
		t.Fatal(err)
	}
	p.prepare()
	if found := names(t, folder); !slices.Equal(found, []string{"sds-certificate.json", "sds-roots.json"}) {
		t.Errorf("the folder holds %v", found)
	}
	if status := p.Status(); status.Certificate != nil || !strings.HasPrefix(status.Complaint, p.mount+" is not there: ") {
		t.Errorf("without a mounted folder the status is %+v", status)
	}
	// A workload without certificates is not to alarm anybody.
	if logged := p.logged(); strings.Contains(logged, "WARN") || len(p.refusals()) != 0 {
		t.Errorf("logged, of no certificate at all:\n%s", logged)
	}
}

func TestPrepareRefusesAFolderThatIsALink(t *testing.T) {
	p := newPlace(t)
	if err := os.Symlink(t.TempDir(), p.Paths().Folder); err != nil {
		t.Fatal(err)
	}
	if err := p.Prepare(); err == nil || !strings.Contains(err.Error(), p.Paths().Folder) {
		t.Errorf("the error is %v", err)
	}
}

func TestNobodyElseCanReadTheFolder(t *testing.T) {
	p := newPlace(t)
	if err := os.Mkdir(p.Paths().Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	p.secret(issue(t, authority()))
	p.prepare()
	seen := 0
	if err := filepath.WalkDir(p.Paths().Folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type() == fs.ModeSymlink {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		seen++
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %#o", path, info.Mode().Perm())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if seen != 2+2+3 {
		t.Errorf("%d files and folders were found, want 7", seen)
	}
}

// Envoy would refuse a misspelt field; that it reads these is for the suite with Envoy.
func TestSDSFilesNameTheLink(t *testing.T) {
	p := newPlace(t)
	p.prepare()
	folder := p.Paths().Folder
	for path, want := range map[string]string{
		p.Paths().CertificateSDS: `{"resources":[{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret","name":"certificate",` +
			`"tls_certificate":{"certificate_chain":{"filename":"DIR/current/cert-chain.pem"},"private_key":{"filename":"DIR/current/key.pem"},"watched_directory":{"path":"DIR"}}}]}`,
		p.Paths().RootsSDS: `{"resources":[{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret","name":"roots",` +
			`"validation_context":{"trusted_ca":{"filename":"DIR/current/root-cert.pem"},"watched_directory":{"path":"DIR"}}}]}`,
	} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, content); err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(compact.String(), folder, "DIR"); got != want {
			t.Errorf("%s is\n%s\nwant\n%s", path, got, want)
		}
	}
}

func TestKeepsTheGenerationBefore(t *testing.T) {
	p := newPlace(t)
	p.secret(issue(t, authority()))
	p.prepare()
	p.run()
	for range 3 {
		c := issue(t, authority())
		p.secret(c)
		p.serves(c, "the mounted folder changed")
	}
	// What Envoy opened by the link a moment ago is still there.
	NewWithT(t).Eventually(func() []string { return names(t, p.Paths().Folder) }).Within(patience).
		Should(Equal([]string{"..3", "..4", "current", "sds-certificate.json", "sds-roots.json"}), "older generations are removed")
	if target, err := os.Readlink(filepath.Join(p.Paths().Folder, "current")); err != nil || target != "..4" {
		t.Errorf("current leads to %q, %v", target, err)
	}
}

func TestNothingIsStoredThatIsServedAlready(t *testing.T) {
	p, c := newPlace(t), issue(t, authority())
	p.secret(c)
	p.prepare()
	p.run()
	// Other bytes, but the same certificate.
	same := c
	same.Roots = append([]byte("# a comment\n"), c.Roots...)
	p.secret(same)
	other := issue(t, authority())
	p.secret(other)
	p.serves(other, "the mounted folder changed")
	if changes := p.changed(); len(changes) != 1 || changes[0].Generation != 2 || changes[0].Fingerprint != p.Status().Certificate.Fingerprint {
		t.Errorf("the changes are %+v", changes)
	}
}

// What is wrong is told once, however often it is read, and again when it is another thing.
func TestComplainsOnce(t *testing.T) {
	var reads atomic.Int64
	p := newPlace(t, func(o *certs.Options) {
		o.Recheck = 10 * time.Millisecond
		o.Now = func() time.Time { reads.Add(1); return time.Now() }
	})
	good := issue(t, authority())
	p.secret(good)
	p.prepare()
	p.run()
	bad := good
	bad.Key = issue(t, authority()).Key
	p.secret(bad)
	p.complains(filepath.Join(p.mount, "key.pem") + " is not the key of the certificate")
	until := reads.Load() + 5
	eventually(t, func() bool { return reads.Load() > until }, "it is read again")
	if told := p.refusals(); len(told) != 1 {
		t.Errorf("told %v", told)
	}
	if !p.holds(good) {
		t.Error("what was served is no longer")
	}
	p.secret(good)
	eventually(t, func() bool { return p.Status().Complaint == "" }, "what is mounted is served again")
	if p.Status().Certificate.Generation != 1 || len(p.changed()) != 0 {
		t.Errorf("the same certificate counts as a change: %+v", p.changed())
	}
	if logged := p.logged(); strings.Contains(logged, "PRIVATE") || strings.Contains(logged, string(good.Key[40:80])) {
		t.Errorf("a key is in the log:\n%s", logged)
	}
}

// A certificate that is mounted before it is valid is taken when it is, by nothing but
// the periodic reading.
func TestTakesACertificateOnceItIsValid(t *testing.T) {
	var offset atomic.Int64
	p := newPlace(t, func(o *certs.Options) {
		o.Recheck = 10 * time.Millisecond
		o.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	})
	c := issue(t, authority(), func(c *x509.Certificate) { c.NotBefore = time.Now().Add(10 * time.Minute) })
	p.secret(c)
	p.prepare()
	p.run()
	p.complains("that is not valid before ")
	if p.stored() != nil {
		t.Error("it was stored")
	}
	offset.Store(int64(11 * time.Minute))
	p.serves(c, "its time has come")
}
