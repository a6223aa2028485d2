package pki_test

import (
	"crypto/x509"
	"net/url"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/pki"
)

func TestAnIdentityHasOneSpelling(t *testing.T) {
	g := NewWithT(t)
	g.Expect(pki.ParseIdentity("spiffe://cluster.local/ns/shop/sa/reviews")).To(Equal(reviews))
	g.Expect(reviews.URI().String()).To(Equal(reviews.String()))
	for _, uri := range []string{
		"", "spiffe://cluster.local", "spiffe://cluster.local/ns/shop/sa/", "spiffe://cluster.local/ns//sa/reviews",
		"spiffe://cluster.local/ns/shop/sa/reviews/", "spiffe://cluster.local/ns/shop/sa/reviews/x", "spiffe://cluster.local/sa/reviews/ns/shop",
		"SPIFFE://cluster.local/ns/shop/sa/reviews", "https://cluster.local/ns/shop/sa/reviews", "spiffe://Cluster.local/ns/shop/sa/reviews",
		"spiffe://cluster.local:80/ns/shop/sa/reviews", "spiffe://u@cluster.local/ns/shop/sa/reviews", "spiffe:///ns/shop/sa/reviews",
		"spiffe://cluster.local/ns/shop/sa/..", "spiffe://cluster.local/ns/./sa/reviews", "spiffe://cluster.local/ns/shop/sa/%72eviews",
		"spiffe://cluster.local/ns/shop/sa/reviews?x", "spiffe://cluster.local/ns/shop/sa/reviews#x", "spiffe://cluster.local/ns/shop/sa/reviews\n",
		"spiffe://" + strings.Repeat("a", 256) + "/ns/shop/sa/reviews", "spiffe://td/ns/shop/sa/" + strings.Repeat("a", 2048),
	} {
		_, err := pki.ParseIdentity(uri)
		g.Expect(err).To(HaveOccurred(), uri)
	}
}

func TestACertificateHasOneIdentity(t *testing.T) {
	g := NewWithT(t)
	leaf, _, err := generation(t, 1).Sign(pki.Request{Identity: reviews, PublicKey: newKey(t, pki.ECDSAP256).Public(), Lifetime: ninety}, start)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(pki.IdentityOf(leaf)).To(Equal(reviews))
	for n, uris := range map[int][]*url.URL{0: nil, 2: {reviews.URI(), reviews.URI()}} {
		_, err := pki.IdentityOf(&x509.Certificate{SerialNumber: leaf.SerialNumber, URIs: uris})
		g.Expect(err).To(MatchError(ContainSubstring("has %d URIs and not one", n)))
	}
}
