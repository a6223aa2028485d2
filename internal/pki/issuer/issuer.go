// Package issuer says what an issuer of leaf certificates is, and has the built-in one, which
// signs with the mesh's own authority. Others are in packages below.
//
// It decides neither who gets a certificate nor when: internal/rotation and internal/agents
// ask, for an identity that they have made sure of.
package issuer

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/pki"
)

// Issuer issues certificates for service accounts.
type Issuer interface {
	// Name is what status and metrics call it, such as "builtin".
	Name() string
	// Issue returns the chain and the roots to trust, both PEM; the chain begins with the leaf
	// and ends before the root. The signing request is PKCS#10 in DER, checked by
	// pki.ParseCSR, and its key is the request's. An issuer may take its time: the context
	// ends the wait. Why nothing was issued is an *Error wherever that is known.
	Issue(ctx context.Context, request pki.Request, csr []byte) (chain, roots []byte, err error)
}

// Reason is why nothing was issued.
type Reason string

// The reasons.
const (
	// Denied: somebody who may decide that has refused the request.
	Denied Reason = "Denied"
	// Invalid: the request cannot be signed by anybody.
	Invalid Reason = "Invalid"
	// Failed: the issuer tried and failed.
	Failed Reason = "Failed"
	// Missing: the issuer is not there.
	Missing Reason = "Missing"
	// NotReady: the issuer is there and has not signed in time.
	NotReady Reason = "NotReady"
)

// Error says why nothing was issued.
type Error struct {
	Reason Reason
	// Issuer is its name.
	Issuer string
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("issuer %s: %s", e.Issuer, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is lets package pki, which cannot import this one, tell refusals.
func (e *Error) Is(target error) bool { return target == pki.ErrRefused && !Retryable(e) }

// Retryable says whether the same request may succeed later without anybody changing it or
// deciding otherwise. Errors of unknown kinds are: most are of a connection.
func Retryable(err error) bool {
	var known *Error
	return !errors.As(err, &known) || known.Reason != Denied && known.Reason != Invalid
}

// Builtin signs with the active generation of the mesh's authority.
type Builtin struct {
	source *pki.Source
	clock  clock.PassiveClock
}

// NewBuiltin signs with what the source holds at the time.
func NewBuiltin(source *pki.Source, c clock.PassiveClock) *Builtin {
	return &Builtin{source: source, clock: c}
}

// Name is that of the source of generations that the mesh makes itself.
func (b *Builtin) Name() string { return pki.SourceBuiltin }

// Issue signs at once. It does not look at the signing request.
func (b *Builtin) Issue(_ context.Context, request pki.Request, _ []byte) (chain, roots []byte, err error) {
	authority := b.source.Get()
	if authority == nil {
		return nil, nil, &Error{NotReady, b.Name(), pki.ErrNoAuthority}
	}
	_, chain, err = authority.Signer().Sign(request, b.clock.Now())
	switch {
	case err == nil:
		return chain, authority.Bundle(), nil
	case errors.Is(err, pki.ErrUnable):
		return nil, nil, &Error{NotReady, b.Name(), err}
	default:
		return nil, nil, &Error{Invalid, b.Name(), err}
	}
}
