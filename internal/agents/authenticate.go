package agents

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/xds"
)

// proofs says by what a caller of a method may prove who it is: a certificate of the mesh or, as
// long as an agent has none, a token that is bound to its Pod.
func proofs(method string) (certificate, token bool) {
	discovery := strings.HasPrefix(method, "/envoy.service.") || strings.HasPrefix(method, "/v3/discovery:")
	return discovery || method == connectMethod, method == connectMethod
}

// Authenticator says who calls, for xds.Network.
type Authenticator struct {
	// Source has the roots that a certificate must lead to.
	Source *pki.Source
	// TrustDomain is the one that a certificate must be of.
	TrustDomain string
	// Review returns the service account of a token, with the Pod that it is bound to. An error
	// that wraps ErrToken means that the token is no good, any other one that this could not
	// be found out.
	Review  func(ctx context.Context, token string) (*xds.Caller, error)
	Clock   clock.PassiveClock
	Metrics *Metrics
}

// ErrToken is the cause of errors of Review that are the token's fault.
var ErrToken = errors.New("the token proves nothing")

// Authenticate returns who calls a method. A caller that shows a certificate which is no good
// (any more) is known by its token, if it shows one and that is enough.
func (a *Authenticator) Authenticate(ctx context.Context, method string) (*xds.Caller, error) {
	byCertificate, byToken := proofs(method)
	leaf, above := shownCertificates(ctx)
	token := shownToken(ctx)
	var refused error
	if leaf != nil && byCertificate {
		caller, err := a.certificate(leaf, above)
		if err == nil {
			return caller, nil
		}
		refused = err
	}
	if token != "" && byToken {
		caller, err := a.Review(ctx, token)
		if err != nil && !errors.Is(err, ErrToken) {
			return nil, status.Error(codes.Unavailable, err.Error())
		}
		if err == nil {
			return caller, nil
		}
		refused = errors.Join(refused, err)
	}
	proof := "none"
	switch {
	case token != "" && byToken:
		proof = "token"
	case leaf != nil:
		proof = "certificate"
	}
	if refused == nil {
		refused = errors.New("show a certificate of the mesh")
		if byToken {
			refused = errors.New("show a certificate of the mesh, or a service account token for the audience " + Audience + " in the metadata authorization: Bearer TOKEN")
		}
	}
	a.Metrics.refused.WithLabelValues(proof).Inc()
	return nil, status.Error(codes.Unauthenticated, refused.Error())
}

// certificate returns whose a certificate is. That the caller has its key was shown in the
// handshake; who vouches for it is looked up anew for each stream, as connections outlive
// changes of the roots.
func (a *Authenticator) certificate(leaf *x509.Certificate, above []*x509.Certificate) (*xds.Caller, error) {
	authority := a.Source.Get()
	if authority == nil {
		return nil, errors.New("the manager has no authority yet: try again soon")
	}
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: authority.Pool(), Intermediates: pki.Pool(above), CurrentTime: a.Clock.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return nil, fmt.Errorf("the certificate is not one of the mesh: %w", err)
	}
	identity, err := pki.IdentityOf(leaf)
	if err != nil {
		return nil, err
	}
	if identity.TrustDomain != a.TrustDomain {
		return nil, fmt.Errorf("the certificate is of the trust domain %s, the mesh is %s", identity.TrustDomain, a.TrustDomain)
	}
	return &xds.Caller{Namespace: identity.Namespace, ServiceAccount: identity.ServiceAccount}, nil
}

// shownCertificates are those of the connection's handshake; leaf is nil if none were shown.
func shownCertificates(ctx context.Context) (leaf *x509.Certificate, above []*x509.Certificate) {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
			return info.State.PeerCertificates[0], info.State.PeerCertificates[1:]
		}
	}
	return nil, nil
}

// shownToken is the bearer token of the call's metadata; empty if there is none.
func shownToken(ctx context.Context) string {
	for _, value := range metadata.ValueFromIncomingContext(ctx, "authorization") {
		if scheme, token, ok := strings.Cut(value, " "); ok && strings.EqualFold(scheme, "Bearer") {
			return token
		}
	}
	return ""
}
