package conformance

import (
	"net/http"
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

// preflight asks as a browser does before it sends a request of another origin's page.
func (c caller) preflight(target, origin string) echo.Reply {
	c.scene.Helper()
	return c.send(http.MethodOptions, target, "", "Origin", origin, "Access-Control-Request-Method", "PUT")
}

func TestCORS(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].corsPolicy.allowOrigins", "VirtualService spec.http[].corsPolicy.allowMethods",
		"VirtualService spec.http[].corsPolicy.allowHeaders", "VirtualService spec.http[].corsPolicy.exposeHeaders",
		"VirtualService spec.http[].corsPolicy.maxAge", "VirtualService spec.http[].corsPolicy.allowCredentials")
	s.serve("reviews", "v1")
	s.route("reviews", `
- corsPolicy:
    allowOrigins: [{exact: 'https://shop.example'}, {prefix: 'https://dev.'}, {regex: 'https://.*\.shop\.example'}]
    allowMethods: [GET, PUT]
    allowHeaders: [x-user, x-more]
    exposeHeaders: [x-answer]
    maxAge: 24h
    allowCredentials: true
  route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		for _, origin := range []string{"https://shop.example", "https://dev.example", "https://www.shop.example"} {
			r := caller.preflight("reviews/", origin)
			s.Expect(r).To(And(HaveField("Status", http.StatusOK), HaveField("Version", "")), "the proxy answers itself")
			s.Expect(r.Header).To(And(
				HaveKeyWithValue("Access-Control-Allow-Origin", []string{origin}), HaveKeyWithValue("Access-Control-Allow-Methods", []string{"GET,PUT"}),
				HaveKeyWithValue("Access-Control-Allow-Headers", []string{"x-user,x-more"}), HaveKeyWithValue("Access-Control-Max-Age", []string{"86400"}),
				HaveKeyWithValue("Access-Control-Allow-Credentials", []string{"true"})))
			r = caller.get("reviews/", "Origin", origin)
			s.Expect(r.Version).To(Equal("v1"))
			s.Expect(r.Header).To(And(
				HaveKeyWithValue("Access-Control-Allow-Origin", []string{origin}), HaveKeyWithValue("Access-Control-Expose-Headers", []string{"x-answer"})))
		}
		r := caller.preflight("reviews/", "https://evil.example")
		s.Expect(r.Version).To(Equal("v1"), "of other origins nothing is known here, the application is asked")
		s.Expect(r.Header).NotTo(HaveKey("Access-Control-Allow-Origin"))
		s.Expect(caller.get("reviews/", "Origin", "https://evil.example").Header).NotTo(HaveKey("Access-Control-Allow-Origin"))
	}
}

func TestCORSOtherPreflights(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].corsPolicy.unmatchedPreflights")
	s.serve("reviews", "v1")
	for policy, version := range map[string]string{"IGNORE": "", "FORWARD": "v1"} {
		s.route("reviews", `
- corsPolicy: {allowOrigins: [{exact: 'https://shop.example'}], unmatchedPreflights: `+policy+`}
  route: [{destination: {host: reviews}}]
`)
		r := s.front.preflight("reviews/", "https://evil.example")
		s.Expect(r.Version).To(Equal(version))
		s.Expect(r.Header).NotTo(HaveKey("Access-Control-Allow-Origin"))
	}
}

func TestCORSAnyOrigin(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].corsPolicy.allowOrigin")
	s.serve("reviews", "v1")
	s.route("reviews", `
- corsPolicy: {allowOrigin: ["*"]}
  route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/", "Origin", "https://any.example").Header).
			To(HaveKeyWithValue("Access-Control-Allow-Origin", []string{"https://any.example"}))
	}
}
