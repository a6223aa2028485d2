package e2e

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

var _ = Describe("A route", func() {
	It("rewrites the matched prefix of the path, and the authority", func() {
		route("rewrite", `
- match: [{uri: {prefix: /old/}}]
  rewrite: {uri: /new/, authority: inside.example}
  route: [{destination: {host: echo}}]
`)
		for _, caller := range callers() {
			r := caller.get("http://rewrite.example/old/items?page=2")
			Expect(r.Seen).To(And(HaveField("Path", "/new/items?page=2"), HaveField("Authority", "inside.example")))
		}
	})

	It("rewrites the path by a regular expression", func() {
		route("regex-rewrite", `
- rewrite: {uriRegexRewrite: {match: '^/v(\d+)/(.*)$', rewrite: '/\2/version-\1'}}
  route: [{destination: {host: echo}}]
`)
		for _, caller := range callers() {
			Expect(caller.get("http://regex-rewrite.example/v2/items?page=2").Seen.Path).To(Equal("/items/version-2?page=2"))
		}
	})

	It("redirects", func() {
		route("redirect", `
- match: [{uri: {exact: /moved}}]
  redirect: {uri: /here, authority: new.example, scheme: https, redirectCode: 308}
- redirect: {authority: new.example, port: 8443}
`)
		for _, caller := range callers() {
			moved := caller.get("http://redirect.example/moved")
			Expect(moved.Status).To(Equal(http.StatusPermanentRedirect))
			Expect(moved.Header.Get("Location")).To(Equal("https://new.example/here"))
			kept := caller.get("http://redirect.example/items?page=2")
			Expect(kept.Status).To(Equal(http.StatusMovedPermanently))
			Expect(kept.Header.Get("Location")).To(Equal("http://new.example:8443/items?page=2"))
		}
	})

	It("answers by itself", func() {
		route("direct", `
- directResponse: {status: 418, body: {string: "I am a teapot\n"}}
  headers: {response: {set: {content-type: text/plain}}}
`)
		for _, caller := range callers() {
			r := caller.get("http://direct.example/")
			Expect(r.Status).To(Equal(http.StatusTeapot))
			Expect(r.Body).To(Equal("I am a teapot\n"))
			Expect(r.Header.Get("Content-Type")).To(Equal("text/plain"))
		}
	})

	It("changes headers, for the route and for a destination", func() {
		route("headers", `
- headers:
    request: {set: {by-route: a}, add: {more: from-route}, remove: [unwanted]}
    response: {set: {echo-set: by-route}, add: {echo-add: by-route}, remove: [echo-remove]}
  route:
  - destination: {host: echo}
    headers:
      request: {set: {by-destination: b}, add: {more: from-destination}, remove: [unwanted-there]}
      response: {set: {echo-set-too: by-destination}, add: {by-destination: c}, remove: [content-type]}
`)
		for _, caller := range callers() {
			r := caller.get("http://headers.example/", "by-route", "of the client", "more", "of the client",
				"unwanted", "x", "unwanted-there", "x", "other", "kept")
			request := r.Seen.Header
			Expect(request.Values("By-Route")).To(ConsistOf("a"))
			Expect(request.Values("By-Destination")).To(ConsistOf("b"))
			Expect(request.Values("More")).To(ConsistOf("of the client", "from-route", "from-destination"))
			Expect(request).NotTo(Or(HaveKey("Unwanted"), HaveKey("Unwanted-There")))
			Expect(request.Values("Other")).To(ConsistOf("kept"))
			Expect(r.Header.Values("Echo-Set")).To(ConsistOf("by-route"))
			Expect(r.Header.Values("Echo-Add")).To(ConsistOf("from the application", "by-route"))
			Expect(r.Header).NotTo(HaveKey("Echo-Remove"))
			Expect(r.Header.Values("Echo-Set-Too")).To(ConsistOf("by-destination"))
			Expect(r.Header.Values("By-Destination")).To(ConsistOf("c"))
			Expect(r.Header).NotTo(HaveKey("Content-Type"))
		}
	})

	It("ends a request that takes longer than its timeout", func() {
		route("timeout", `
- timeout: 250ms
  route: [{destination: {host: echo}}]
`)
		for _, caller := range callers() {
			late := caller.get("http://timeout.example/", echo.DelayHeader, "1h")
			Expect(late.Status).To(Equal(http.StatusGatewayTimeout))
			Expect(late.Body).To(Equal("upstream request timeout"))
		}
		Eventually(func() int { return front.get("http://timeout.example/").Status }).Should(Equal(200), "others are in time")
	})

	It("tries again as often as it says, on what it says", func() {
		route("retries", `
- match: [{uri: {prefix: /thrice}}]
  retries: {attempts: 3, retryOn: "503", backoff: 1ms}
  route: [{destination: {host: echo, subset: v1}}]
- match: [{uri: {prefix: /never}}]
  retries: {attempts: 0}
  route: [{destination: {host: echo, subset: v1}}]
- route: [{destination: {host: echo, subset: v1}}]
`)
		for _, caller := range callers() {
			key := caller.name
			mended := caller.get("http://retries.example/thrice", echo.FailHeader, key+"-mended 3")
			Expect(mended.Status).To(Equal(200))
			Expect(mended.Seen.Attempt).To(Equal(4))

			broken := caller.get("http://retries.example/thrice", echo.FailHeader, key+"-broken 9")
			Expect(broken.Status).To(Equal(503))
			Expect(broken.Seen.Attempt).To(Equal(4), "the first one and three more")

			never := caller.get("http://retries.example/never", echo.FailHeader, key+"-never 1")
			Expect(never.Status).To(Equal(503))
			Expect(never.Seen.Attempt).To(Equal(1))

			usual := caller.get("http://retries.example/", echo.FailHeader, key+"-usual 1")
			Expect(usual.Status).To(Equal(503), "a 503 may have had an effect: without a word it is not tried again")
			Expect(usual.Seen.Attempt).To(Equal(1))
		}
	})

	It("limits the time of each try", func() {
		route("per-try", `
- retries: {attempts: 1, perTryTimeout: 250ms, retryOn: "reset"}
  route: [{destination: {host: echo, subset: v1}}]
`)
		for _, caller := range callers() {
			late := caller.get("http://per-try.example/", echo.DelayHeader, "1h")
			Expect(late.Status).To(Equal(http.StatusGatewayTimeout))
		}
	})
})
