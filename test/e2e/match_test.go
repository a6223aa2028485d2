package e2e

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

// matchToV2 sends what matches to v2, and everything else to v1.
func matchToV2(match string) string {
	return fmt.Sprintf(`
- match: [%s]
  route: [{destination: {host: echo, subset: v2}}]
- route: [{destination: {host: echo, subset: v1}}]
`, match)
}

// request is written as "METHOD /path Name: value; Name: value".
func (w *workload) request(host, text string) echo.Reply {
	GinkgoHelper()
	method, rest, _ := strings.Cut(text, " ")
	path, fields, _ := strings.Cut(rest, " ")
	var headers []string
	if fields != "" {
		for field := range strings.SplitSeq(fields, "; ") {
			name, value, _ := strings.Cut(field, ": ")
			headers = append(headers, name, value)
		}
	}
	return w.send(method, "http://"+host+path, headers...)
}

var _ = Describe("A request", func() {
	type requests []string

	DescribeTable("is matched by", func(match string, matched, others requests) {
		route("matched", matchToV2(match))
		for _, caller := range callers() {
			for _, text := range matched {
				Expect(caller.request("matched.example", text).Version).To(Equal("v2"), "%s from %s matches", text, caller.name)
			}
			for _, text := range others {
				Expect(caller.request("matched.example", text).Version).To(Equal("v1"), "%s from %s does not match", text, caller.name)
			}
		}
	},
		Entry("its exact path", `{uri: {exact: /items}}`,
			requests{"GET /items", "GET /items?page=2"},
			requests{"GET /items/7", "GET /Items", "GET /"}),
		Entry("the beginning of its path", `{uri: {prefix: /items}}`,
			requests{"GET /items", "GET /items/7"},
			requests{"GET /", "GET /ITEMS/7", "GET /new/items"}),
		Entry("a regular expression on its whole path", `{uri: {regex: '/items/\d+'}}`,
			requests{"GET /items/42", "GET /items/42?page=2"},
			requests{"GET /items/42a", "GET /items/", "GET /new/items/42"}),
		Entry("its path in any case", `{uri: {prefix: /items}, ignoreUriCase: true}`,
			requests{"GET /items", "GET /ITEMS/7"},
			requests{"GET /other"}),
		Entry("its method", `{method: {exact: DELETE}}`,
			requests{"DELETE /"},
			requests{"GET /", "POST /"}),
		Entry("a header's value, whatever the case of its name", `{headers: {end-user: {exact: ann}}}`,
			requests{"GET / end-user: ann", "GET / End-User: ann"},
			requests{"GET /", "GET / end-user: bob", "GET / end-user: anna"}),
		Entry("a header's presence", `{headers: {end-user: {}}}`,
			requests{"GET / end-user: ann", "GET / end-user: bob"},
			requests{"GET /"}),
		Entry("all of several headers", `{headers: {end-user: {prefix: an}, agent: {regex: '.*fox.*'}}}`,
			requests{"GET / end-user: anna; agent: firefox"},
			requests{"GET / end-user: anna", "GET / agent: firefox", "GET / end-user: bob; agent: firefox"}),
		Entry("a header that it has not", `{withoutHeaders: {end-user: {exact: ann}}}`,
			requests{"GET /", "GET / end-user: bob"},
			requests{"GET / end-user: ann"}),
		Entry("query parameters", `{queryParams: {page: {exact: "2"}, sort: {regex: 'a.*'}}}`,
			requests{"GET /?page=2&sort=age", "GET /?sort=age&page=2&x=y"},
			requests{"GET /?page=2", "GET /?page=22&sort=age", "GET /"}),
		Entry("all that one match asks for", `{uri: {prefix: /items}, method: {exact: GET}, headers: {end-user: {exact: ann}}}`,
			requests{"GET /items end-user: ann"},
			requests{"POST /items end-user: ann", "GET /items", "GET / end-user: ann"}),
		Entry("any of several matches", `{uri: {exact: /a}}, {uri: {exact: /b}}`,
			requests{"GET /a", "GET /b"},
			requests{"GET /c"}),
	)

	It("is matched by its authority", func() {
		programmed(apply(virtualServiceOf("authority", "[one.example, two.example]", matchToV2(`{authority: {exact: two.example}}`))))
		for _, caller := range callers() {
			Expect(caller.get("http://one.example/").Version).To(Equal("v1"))
			Expect(caller.get("http://two.example/").Version).To(Equal("v2"))
		}
	})

	It("is matched by the port that it is sent to", func() {
		programmed(apply(virtualServiceOf("port", "[echo]", matchToV2("{port: 8081}"))))
		for _, caller := range callers() {
			for range 4 {
				Expect(caller.get("http://echo/").Version).To(Equal("v1"))
				Expect(caller.get("http://echo:8081/").Version).To(Equal("v2"))
			}
		}
	})

	It("is matched by the labels of its caller", func() {
		route("labels", matchToV2("{sourceLabels: {team: bank}}"))
		Expect(front.get("http://labels.example/").Version).To(Equal("v1"))
		Expect(ledger.get("http://labels.example/").Version).To(Equal("v2"))
	})

	It("is matched by the namespace of its caller", func() {
		route("elsewhere", matchToV2("{sourceNamespace: elsewhere}"))
		route("here", matchToV2("{sourceNamespace: default}"))
		for _, caller := range callers() {
			Expect(caller.get("http://elsewhere.example/").Version).To(Equal("v1"))
			Expect(caller.get("http://here.example/").Version).To(Equal("v2"))
		}
	})

	It("is answered 404 where nothing matches it, or nobody has the host", func() {
		route("nothing", `
- match: [{uri: {exact: /only}}]
  route: [{destination: {host: echo}}]
`)
		for _, caller := range callers() {
			Expect(caller.get("http://nothing.example/only").Status).To(Equal(200))
			Expect(caller.get("http://nothing.example/").Status).To(Equal(404))
			Expect(caller.get("http://nobody.example/").Status).To(Equal(404))
		}
	})
})
