package mesh

import (
	"bytes"
	"log/slog"
)

// Credential is what a Secret holds for TLS, in PEM. It is in the store only as long as
// somebody's translation reads it.
type Credential struct {
	Name NamespacedName
	// Certificate and Key are a pair, or both empty; Staple is the answer of OCSP to go with it.
	Certificate, Key, Staple []byte
	// Roots tell good certificates of peers from others, but for what Revoked lists.
	Roots, Revoked []byte
	// Problem says why the Secret cannot be used as it is now; empty if it can. What was
	// last good is kept.
	Problem string
}

// String keeps keys out of whatever prints the credential.
func (c *Credential) String() string { return "credential " + c.Name.String() }

// LogValue keeps keys out of logs.
func (c *Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

func (c *Credential) equal(other *Credential) bool {
	return other != nil && c.Name == other.Name && c.Problem == other.Problem && bytes.Equal(c.Certificate, other.Certificate) &&
		bytes.Equal(c.Key, other.Key) && bytes.Equal(c.Staple, other.Staple) && bytes.Equal(c.Roots, other.Roots) &&
		bytes.Equal(c.Revoked, other.Revoked)
}

// SetCredential adds or replaces a credential.
func (s *Store) SetCredential(credential *Credential) {
	s.mu.Lock()
	defer s.release()
	if credential.equal(s.credentials[credential.Name]) {
		return
	}
	s.credentials[credential.Name] = credential
	s.mark(KindCredential, credential.Name.String())
}

// ForgetCredential drops a credential: it is not known any more what the Secret holds.
func (s *Store) ForgetCredential(name NamespacedName) {
	s.mu.Lock()
	defer s.release()
	if _, found := s.credentials[name]; found {
		delete(s.credentials, name)
		s.mark(KindCredential, name.String())
	}
}

// Credential implements View.
func (s *Store) Credential(name NamespacedName) *Credential {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.credentials[name]
}

// Credential implements View.
func (r *Recorder) Credential(name NamespacedName) *Credential {
	r.note(KindCredential, name.String())
	return r.View.Credential(name)
}
