package agents

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/internal/xds"
)

// Audience is whom the tokens are for that agents show. The API server itself does not take
// such a token.
const Audience = "fairlead"

const (
	// podNameClaim is how the API server tells which Pod a token is bound to:
	// https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
	podNameClaim = "authentication.kubernetes.io/pod-name"
	// maxToken is several times the size of a service account's token, in bytes.
	maxToken = 16 << 10
	// reviews is how many questions may be open at the API server: whoever reaches the
	// manager can have it ask.
	reviews       = 32
	reviewTimeout = 10 * time.Second
)

// TokenReviewer asks the API server whose a token is, by TokenReviews.
type TokenReviewer struct {
	api   client.Writer
	slots chan struct{}
}

// NewTokenReviewer asks by a client whose scheme has to know TokenReviews.
func NewTokenReviewer(api client.Writer) *TokenReviewer {
	return &TokenReviewer{api: api, slots: make(chan struct{}, reviews)}
}

// Review is for Authenticator.
func (t *TokenReviewer) Review(ctx context.Context, token string) (*xds.Caller, error) {
	if len(token) > maxToken {
		return nil, fmt.Errorf("%w: it has %d bytes, more than %d", ErrToken, len(token), maxToken)
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("review the token: too many others are being reviewed: try again: %w", ctx.Err())
	}
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{Audience}}}
	if err := t.api.Create(ctx, review); err != nil {
		return nil, fmt.Errorf("review the token at the API server: %w", err)
	}
	return bearer(review.Status)
}

// bearer reads what the API server found out of a token.
func bearer(found authenticationv1.TokenReviewStatus) (*xds.Caller, error) {
	switch {
	case !found.Authenticated:
		return nil, fmt.Errorf("%w: the API server refuses it: %s", ErrToken, found.Error)
	case !slices.Contains(found.Audiences, Audience):
		// An API server that knows no audiences leaves them out.
		return nil, fmt.Errorf("%w: it is not for the audience %s", ErrToken, Audience)
	}
	account, isAccount := strings.CutPrefix(found.User.Username, "system:serviceaccount:")
	namespace, name, isFull := strings.Cut(account, ":")
	if !isAccount || !isFull {
		return nil, fmt.Errorf("%w: %s is no service account", ErrToken, found.User.Username)
	}
	pod := found.User.Extra[podNameClaim]
	if len(pod) != 1 || pod[0] == "" {
		return nil, fmt.Errorf("%w: it is not bound to a Pod: project it into the Pod, or ask for it with boundObjectRef", ErrToken)
	}
	return &xds.Caller{Namespace: namespace, ServiceAccount: name, Pod: pod[0]}, nil
}
