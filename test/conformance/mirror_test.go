package conformance

import (
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

func TestMirror(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].mirror.host", "VirtualService spec.http[].mirror.port.number")
	reviews, audit := s.serve("reviews", "v1"), s.serve("audit", "v2")
	s.route("reviews", `
- mirror: {host: audit, port: {number: 80}}
  route: [{destination: {host: reviews}}]
`)
	for i, caller := range s.callers() {
		r := caller.send("POST", "reviews/path?a=b", "of the request", "x-user", "anna")
		s.Expect(r.Version).To(Equal("v1"), "the answer is the destination's")
		s.Eventually(audit["v2"].Requests).Should(HaveLen(i+1), "a copy comes")
		s.Expect(audit["v2"].Requests()[i]).To(And(
			HaveField("Method", "POST"), HaveField("Path", "/path?a=b"), HaveField("Body", "of the request"),
			HaveField("Header", HaveKeyWithValue("X-User", []string{"anna"})), HaveField("Authority", HaveSuffix("-shadow"))))
	}
	s.Expect(reviews["v1"].Requests()).To(HaveLen(3))
}

func TestMirrors(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].mirrors[].destination.host", "VirtualService spec.http[].mirrors[].destination.subset",
		"VirtualService spec.http[].mirrors[].destination.labels", "VirtualService spec.http[].mirrors[].percentage",
		"VirtualService spec.http[].mirrors[].destination.port.number")
	apps, audit := s.serve("reviews", "v1", "v2", "v3"), s.serve("audit", "v4")
	s.apply(subsets)
	s.route("reviews", `
- mirrors:
  - {destination: {host: reviews, subset: v2, port: {number: 8081}}}
  - {destination: {host: reviews, labels: {version: v3}}, percentage: {value: 20}}
  - {destination: {host: audit}, percentage: {value: 0}}
  route: [{destination: {host: reviews, subset: v1}}]
`)
	const n = 10_000
	s.Expect(s.front.many(n, "reviews/")).To(Equal(echo.Tally{"v1": n}))
	s.Eventually(apps["v2"].Requests).Should(HaveLen(n), "all are copied")
	s.Expect(len(apps["v3"].Requests())).To(beShareOf(n, 0.2))
	s.Expect(audit["v4"].Requests()).To(BeEmpty())
}

func TestMirrorOfSomePods(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].mirror.subset", "VirtualService spec.http[].mirror.labels")
	apps := s.serve("reviews", "v1", "v2", "v3")
	s.apply(subsets)
	s.route("reviews", `
- match: [{uri: {prefix: /subset}}]
  mirror: {host: reviews, subset: v2}
  route: [{destination: {host: reviews, subset: v1}}]
- mirror: {host: reviews, labels: {version: v3}}
  route: [{destination: {host: reviews, subset: v1}}]
`)
	s.front.get("reviews/subset")
	s.front.get("reviews/labels")
	s.Eventually(apps["v2"].Requests).Should(ConsistOf(HaveField("Path", "/subset")))
	s.Eventually(apps["v3"].Requests).Should(ConsistOf(HaveField("Path", "/labels")))
}

func TestMirrorShares(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].mirrorPercentage", "VirtualService spec.http[].mirrorPercent", "VirtualService spec.http[].mirror_percent")
	s.serve("reviews", "v1")
	audit := s.serve("audit", "v2")
	s.route("reviews", `
- match: [{uri: {prefix: /percentage}}]
  mirror: {host: audit}
  mirrorPercentage: {value: 0}
  mirrorPercent: 100
  route: [{destination: {host: reviews}}]
- match: [{uri: {prefix: /percent}}]
  mirror: {host: audit}
  mirrorPercent: 0
  mirror_percent: 100
  route: [{destination: {host: reviews}}]
- match: [{uri: {prefix: /underscore}}]
  mirror: {host: audit}
  mirror_percent: 100
  route: [{destination: {host: reviews}}]
`)
	for _, path := range []string{"percentage", "percent", "underscore"} {
		s.Expect(s.front.get("reviews/" + path).Version).To(Equal("v1"))
	}
	s.Eventually(audit["v2"].Requests).Should(ConsistOf(HaveField("Path", "/underscore")), "only what has a share is copied")
}

// A mirror that answers nothing keeps nobody waiting.
func TestMirrorThatDoesNotExist(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1")
	s.route("reviews", `
- mirror: {host: gone}
  route: [{destination: {host: reviews}}]
`)
	s.Expect(s.status("VirtualService", "reviews").Conditions).To(ContainElement(And(
		HaveField("Type", "ResolvedRefs"), HaveField("Reason", "HostNotFound"), HaveField("Message", ContainSubstring("spec.http[0].mirror.host")))))
	for _, caller := range s.callers() {
		s.Expect(caller.many(20, "reviews/")).To(Equal(echo.Tally{"v1": 20}))
	}
}

func TestMirrorToASubset(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].mirror.subset", "VirtualService spec.http[].mirror.host")
	s.mirrored(`mirror: {host: reviews, subset: v2}`)
}

func TestMirrorToLabels(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].mirror.labels")
	s.mirrored(`mirror: {host: reviews, labels: {version: v2}}`)
}

func TestMirrorsToAPort(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].mirrors[].destination.port.number")
	s.mirrored(`mirrors: [{destination: {host: reviews, subset: v2, port: {number: 8081}}}]`)
}

// mirrored holds that v1 answers and v2 gets copies.
func (s *scene) mirrored(mirror string) {
	s.Helper()
	apps := s.serve("reviews", "v1", "v2")
	s.apply(subsets)
	s.route("reviews", `
- route: [{destination: {host: reviews, subset: v1}}]
  `+mirror+`
`)
	s.Expect(s.front.many(20, "reviews/")).To(Equal(echo.Tally{"v1": 20}))
	s.Eventually(func() int { return len(apps["v2"].Requests()) }).Should(Equal(20), "every request is copied")
}
