package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"time"

	"fairlead.dev/fairlead/internal/pki"
)

const (
	// Envoy takes a change within milliseconds, once it gets to it.
	firstPause = 5 * time.Millisecond
	maxPause   = time.Second
	// slowShare of Options.ProofPatience is the pause for an Envoy that has been asked in
	// vain for that long: 5 s of 30.
	slowShare = 6
	// nudgeAfter is when Envoy is made to look again, in case it missed the change.
	nudgeAfter = 2 * time.Second
	// lookTimeout bounds one handshake with an Envoy that hangs.
	lookTimeout = 5 * time.Second
)

// Served is what a handshake told of the other side.
type Served struct {
	// Fingerprint is the SHA-256 of its leaf's DER in hexadecimal digits.
	Fingerprint string
	// Roots are the subjects, as DER, of the authorities by which it judges its peers,
	// sorted.
	Roots []string
}

// Handshake does a TLS handshake on the Unix socket of a listener that requires a client's
// certificate and echoes what it gets. It returns an error unless the other side has
// also taken our own certificate, but tells what it saw before.
//
// Whom it speaks to is not verified, on purpose: the caller compares the fingerprint.
func Handshake(ctx context.Context, socket string, own tls.Certificate) (Served, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var served Served
	plain, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return served, err
	}
	connection := tls.Client(plain, &tls.Config{
		MinVersion: tls.VersionTLS13,
		// An expired or foreign certificate is to be told, too.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			served.Fingerprint = pki.RootID(state.PeerCertificates[0])
			return nil
		},
		GetClientCertificate: func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			served.Roots = distinct(request.AcceptableCAs)
			return &own, nil
		},
	})
	defer func() { _ = connection.Close() }()
	if err := connection.HandshakeContext(ctx); err != nil {
		return served, err
	}
	deadline, _ := ctx.Deadline()
	if err := connection.SetDeadline(deadline); err != nil {
		return served, err
	}
	// In TLS 1.3 the client's part of the handshake is over before its certificate was
	// looked at (RFC 8446, section 4.4.2.4): only an answer tells.
	if _, err := connection.Write([]byte{1}); err != nil {
		return served, err
	}
	_, err = connection.Read(make([]byte, 1))
	return served, err
}

// Prove finds out by handshakes whether Envoy serves the current certificate and judges its
// peers by the current roots, and returns when it does or the context ends. After
// Options.ProofPatience in vain it says so in Status and in the log, and goes on asking. If the
// certificate changes meanwhile, the newest is what is to be proven. If there is none,
// there is nothing to be proven, and it returns at once.
func (f *Folder) Prove(ctx context.Context) error {
	started, generation := time.Now(), 0
	pause, told := firstPause, false
	for {
		served, err := f.look(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if served != generation {
			started, generation, pause, told = time.Now(), served, firstPause, false
		}
		waited := time.Since(started)
		if waited > nudgeAfter {
			f.nudge()
		}
		if waited > f.options.ProofPatience {
			if !told {
				f.options.Log.Warn("Envoy is not known to serve the current certificate", "generation", generation, "waited", f.options.ProofPatience, "error", err)
			}
			told, pause = true, f.options.ProofPatience/slowShare
			f.mu.Lock()
			f.status.ProofComplaint = err.Error()
			f.mu.Unlock()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		if !told {
			pause = min(2*pause, maxPause)
		}
	}
}

// look does one handshake with the certificate of the current generation, which it returns.
func (f *Folder) look(ctx context.Context) (generation int, err error) {
	f.mu.Lock()
	current := f.served
	f.mu.Unlock()
	if current == nil {
		return 0, nil
	}
	generation = current.about.Generation
	folder := f.store.generation(generation)
	own, err := tls.LoadX509KeyPair(filepath.Join(folder, ChainFile), filepath.Join(folder, KeyFile))
	if err != nil {
		return generation, err
	}
	served, err := Handshake(ctx, f.paths.ProofSocket, own)
	switch {
	case served.Fingerprint != "" && served.Fingerprint != current.about.Fingerprint:
		return generation, fmt.Errorf("envoy serves the certificate with fingerprint %s, not yet the current one %s", served.Fingerprint, current.about.Fingerprint)
	case served.Fingerprint != "" && !slices.Equal(served.Roots, current.subjects):
		return generation, errors.New("envoy serves the current certificate, but does not judge its peers by the current " + RootsFile + " yet")
	case err != nil && served.Fingerprint != "":
		return generation, fmt.Errorf("envoy serves the current certificate, but does not take it from others: %w", err)
	case err != nil:
		return generation, fmt.Errorf("envoy cannot be asked for its certificate at %s: %w", filepath.Base(f.paths.ProofSocket), err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.served != current {
		return f.served.about.Generation, errors.New("the certificate has just changed again")
	}
	f.status.Proven, f.status.ProofComplaint = f.options.Now(), ""
	about := current.about
	f.options.Log.Info("Envoy serves the certificate", "generation", generation, "serial", about.Serial, "after", f.status.Proven.Sub(about.Loaded).Round(time.Millisecond).String())
	return generation, nil
}

func (f *Folder) nudge() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.store.nudge(); err != nil {
		f.options.Log.Debug("Envoy could not be made to look again", "error", err)
	}
}

func subjects(roots []*x509.Certificate) []string {
	var found [][]byte
	for _, root := range roots {
		found = append(found, root.RawSubject)
	}
	return distinct(found)
}

func distinct(values [][]byte) []string {
	set := map[string]struct{}{}
	for _, value := range values {
		set[string(value)] = struct{}{}
	}
	return slices.Sorted(maps.Keys(set))
}
