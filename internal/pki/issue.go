package pki

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/utils/clock"
)

// IssueFunc has a certificate issued, for an identity that its caller has made sure of: the
// chain, which begins with the leaf and ends before the root, and the roots to trust, both PEM.
// The signing request is PKCS#10 in DER, checked by ParseCSR, and its key is the request's. It
// may take its time: the context ends the wait. Why nothing was issued is an *IssueError
// wherever that is known.
type IssueFunc func(ctx context.Context, request Request, csr []byte) (chain, roots []byte, err error)

// IssueReason is why nothing was issued.
type IssueReason string

// The reasons.
const (
	// Denied: somebody who may decide that has refused the request.
	Denied IssueReason = "Denied"
	// Invalid: the request cannot be signed by anybody.
	Invalid IssueReason = "Invalid"
	// Failed: the issuer tried and failed.
	Failed IssueReason = "Failed"
	// Missing: the issuer is not there.
	Missing IssueReason = "Missing"
	// NotReady: the issuer is there and has not signed in time.
	NotReady IssueReason = "NotReady"
)

// IssueError says why nothing was issued.
type IssueError struct {
	Reason IssueReason
	// Issuer is its name.
	Issuer string
	Err    error
}

func (e *IssueError) Error() string { return fmt.Sprintf("issuer %s: %s", e.Issuer, e.Err) }

// Unwrap returns the cause.
func (e *IssueError) Unwrap() error { return e.Err }

// Retryable says whether the same request may succeed later without anybody changing it or
// deciding otherwise. Errors of unknown kinds are: most are of a connection.
func Retryable(err error) bool {
	var known *IssueError
	return !errors.As(err, &known) || known.Reason != Denied && known.Reason != Invalid
}

// Builtin signs with the generation that is active at the time. It does not look at the signing
// request.
func Builtin(source *Source, c clock.PassiveClock) IssueFunc {
	return func(_ context.Context, request Request, _ []byte) (chain, roots []byte, err error) {
		authority := source.Get()
		if authority == nil {
			return nil, nil, &IssueError{NotReady, SourceBuiltin, ErrNoAuthority}
		}
		_, chain, err = authority.Signer().Sign(request, c.Now())
		switch {
		case err == nil:
			return chain, authority.Bundle(), nil
		case errors.Is(err, ErrUnable):
			return nil, nil, &IssueError{NotReady, SourceBuiltin, err}
		default:
			return nil, nil, &IssueError{Invalid, SourceBuiltin, err}
		}
	}
}
