package conformance

import (
	"testing"

	. "github.com/onsi/gomega"
)

func TestRedirect(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].redirect")
	s.route("reviews", `
- match: [{uri: {prefix: /old/}}]
  redirect: {prefixRewrite: /new/}
- match: [{uri: {prefix: /all}}]
  redirect: {uri: /elsewhere, authority: shop.example, scheme: https, port: 8443, redirectCode: 308}
- match: [{uri: {prefix: /port}}]
  redirect: {authority: shop.example, derivePort: FROM_REQUEST_PORT, redirectCode: 302}
- redirect: {scheme: https, derivePort: FROM_PROTOCOL_DEFAULT}
`)
	s.serve("reviews", "v1")
	for _, caller := range s.callers() {
		for path, want := range map[string]string{
			"/old/a/b?c=d": "http://reviews.NAMESPACE.svc.cluster.local/new/a/b?c=d",
			"/all":         "https://shop.example:8443/elsewhere",
			":8081/port":   "http://shop.example:8081/port",
			":8081/":       "https://reviews.NAMESPACE.svc.cluster.local:443/",
		} {
			s.Expect(caller.get("reviews"+path).Header.Get("Location")).To(Equal(s.text(want)), "%s by %s", path, caller.name)
		}
		s.Expect(caller.get("reviews/old/").Status).To(Equal(301))
		s.Expect(caller.get("reviews/all").Status).To(Equal(308))
		s.Expect(caller.get("reviews/port").Status).To(Equal(302))
	}
}
