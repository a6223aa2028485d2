package conformance

import (
	"net/http"
	"testing"

	. "github.com/onsi/gomega"
)

func TestRewriteURIOfPrefix(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].rewrite.uri")
	s.serve("reviews", "v1")
	s.route("reviews", `
- match: [{uri: {prefix: /old/}}]
  rewrite: {uri: /new/}
  route: [{destination: {host: reviews}}]
- match: [{uri: {exact: /exact}}]
  rewrite: {uri: /whole}
  route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/old/items?page=2").Seen.Path).To(Equal("/new/items?page=2"))
		s.Expect(caller.get("reviews/exact?page=2").Seen.Path).To(Equal("/whole?page=2"))
	}
}

func TestRewriteAuthority(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].rewrite.authority")
	s.serve("reviews", "v1")
	s.route("reviews", `
- rewrite: {authority: inside.example}
  route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/items").Seen).To(And(HaveField("Authority", "inside.example"), HaveField("Path", "/items")))
	}
}

func TestRewriteURIRegex(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].rewrite.uriRegexRewrite")
	s.serve("reviews", "v1")
	s.route("reviews", `
- rewrite: {uriRegexRewrite: {match: '^/v(\d+)/(.*)$', rewrite: '/\2/version-\1'}}
  route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/v2/items?page=2").Seen.Path).To(Equal("/items/version-2?page=2"))
	}
}

// redirects tries where requests for paths are sent.
func (s *scene) redirects(status int, locations map[string]string) {
	s.Helper()
	for _, caller := range s.callers() {
		for target, location := range locations {
			r := caller.get("reviews" + target)
			s.Expect(r.Status).To(Equal(status))
			s.Expect(r.Header.Get("Location")).To(Equal(s.text(location)), "%s from %s", target, caller.name)
		}
	}
}

func TestRedirectURIAndAuthority(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].redirect.uri", "VirtualService spec.http[].redirect.authority")
	s.serve("reviews", "v1")
	s.route("reviews", `
- match: [{uri: {prefix: /moved}}]
  redirect: {uri: /here}
- redirect: {authority: new.example}
`)
	s.redirects(http.StatusMovedPermanently, map[string]string{
		"/moved/items": "http://reviews.NAMESPACE.svc.cluster.local/here",
		"/items?a=b":   "http://new.example/items?a=b",
	})
}

func TestRedirectSchemeAndCode(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].redirect.scheme", "VirtualService spec.http[].redirect.redirectCode")
	s.serve("reviews", "v1")
	s.route("reviews", `
- redirect: {scheme: https, redirectCode: 308}
`)
	s.redirects(http.StatusPermanentRedirect, map[string]string{"/items": "https://reviews.NAMESPACE.svc.cluster.local/items"})
}

func TestRedirectPort(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].redirect.port", "VirtualService spec.http[].redirect.derivePort")
	s.serve("reviews", "v1")
	s.route("reviews", `
- match: [{uri: {prefix: /given}}]
  redirect: {port: 8443}
- match: [{uri: {prefix: /request}}]
  redirect: {derivePort: FROM_REQUEST_PORT, authority: new.example}
- redirect: {derivePort: FROM_PROTOCOL_DEFAULT, scheme: https}
`)
	s.redirects(http.StatusMovedPermanently, map[string]string{
		"/given":        "http://reviews.NAMESPACE.svc.cluster.local:8443/given",
		":8081/request": "http://new.example:8081/request",
		":8081/default": "https://reviews.NAMESPACE.svc.cluster.local:443/default",
	})
}

func TestDirectResponse(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].directResponse")
	apps := s.serve("reviews", "v1")
	s.route("reviews", `
- match: [{uri: {prefix: /text}}]
  directResponse: {status: 418, body: {string: "I am a teapot\n"}}
  headers: {response: {set: {content-type: text/plain}}}
- match: [{uri: {prefix: /bytes}}]
  directResponse: {status: 200, body: {bytes: AAEC}}
- directResponse: {status: 503}
`)
	for _, caller := range s.callers() {
		r := caller.get("reviews/text")
		s.Expect(r.Status).To(Equal(http.StatusTeapot))
		s.Expect(r.Body).To(Equal("I am a teapot\n"))
		s.Expect(r.Header.Get("Content-Type")).To(Equal("text/plain"))
		s.Expect(caller.get("reviews/bytes").Body).To(Equal("\x00\x01\x02"))
		s.Expect(caller.get("reviews/").Status).To(Equal(503))
	}
	s.Expect(apps["v1"].Requests()).To(BeEmpty())
}

func TestRedirectPrefix(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].redirect.prefixRewrite")
	s.serve("reviews", "v1")
	s.route("reviews", `
- match: [{uri: {prefix: /old/}}]
  redirect: {prefixRewrite: /new/}
- route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/old/a/b?c=d").Header.Get("Location")).To(Equal(s.text("http://reviews.NAMESPACE.svc.cluster.local/new/a/b?c=d")))
		s.Expect(caller.get("reviews/older").Version).To(Equal("v1"))
	}
}
