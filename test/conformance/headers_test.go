package conformance

import (
	"testing"

	. "github.com/onsi/gomega"
)

func TestRouteHeaders(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].headers")
	s.serve("reviews", "v1")
	s.route("reviews", `
- headers:
    request: {set: {by-route: a}, add: {more: from-route}, remove: [unwanted]}
    response: {set: {echo-set: by-route}, add: {echo-add: by-route}, remove: [echo-remove]}
  route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		r := caller.get("reviews/", "by-route", "of the client", "more", "of the client", "unwanted", "x", "other", "kept")
		s.Expect(r.Seen.Header.Values("By-Route")).To(ConsistOf("a"))
		s.Expect(r.Seen.Header.Values("More")).To(ConsistOf("of the client", "from-route"))
		s.Expect(r.Seen.Header).NotTo(HaveKey("Unwanted"))
		s.Expect(r.Seen.Header.Values("Other")).To(ConsistOf("kept"))
		s.Expect(r.Header.Values("Echo-Set")).To(ConsistOf("by-route"))
		s.Expect(r.Header.Values("Echo-Add")).To(ConsistOf("from the application", "by-route"))
		s.Expect(r.Header).NotTo(HaveKey("Echo-Remove"))
	}
}

func TestDestinationHeaders(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].route[].headers")
	s.serve("reviews", "v1", "v2")
	s.apply(subsets)
	s.route("reviews", `
- route:
  - destination: {host: reviews, subset: v1}
    weight: 50
    headers:
      request: {set: {by-v1: b}, add: {more: from-v1}, remove: [unwanted]}
      response: {set: {echo-set: by-v1}, add: {echo-add: by-v1}, remove: [echo-remove]}
  - {destination: {host: reviews, subset: v2}, weight: 50}
`)
	seen := map[string]bool{}
	s.Eventually(func() map[string]bool {
		r := s.front.get("reviews/", "more", "of the client", "unwanted", "x")
		seen[r.Version] = true
		if r.Version == "v1" {
			s.Expect(r.Seen.Header.Values("By-V1")).To(ConsistOf("b"))
			s.Expect(r.Seen.Header.Values("More")).To(ConsistOf("of the client", "from-v1"))
			s.Expect(r.Seen.Header).NotTo(HaveKey("Unwanted"))
			s.Expect(r.Header.Values("Echo-Set")).To(ConsistOf("by-v1"))
			s.Expect(r.Header.Values("Echo-Add")).To(ConsistOf("from the application", "by-v1"))
			s.Expect(r.Header).NotTo(HaveKey("Echo-Remove"))
		} else {
			s.Expect(r.Seen.Header).NotTo(HaveKey("By-V1"))
			s.Expect(r.Seen.Header).To(HaveKey("Unwanted"))
			s.Expect(r.Header.Values("Echo-Set")).To(ConsistOf("from the application"))
		}
		return seen
	}).Should(HaveLen(2), "both destinations get requests")
}

func TestHostByHeaders(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1", "v2")
	s.apply(subsets)
	s.route("reviews", `
- match: [{uri: {prefix: /route}}]
  headers: {request: {set: {Host: route.example}}}
  route: [{destination: {host: reviews}}]
- match: [{uri: {prefix: /alone}}]
  route: [{destination: {host: reviews}, headers: {request: {set: {":authority": "alone.example:81"}}}}]
- headers: {request: {set: {host: route.example}}}
  route:
  - {destination: {host: reviews, subset: v1}, weight: 1}
  - {destination: {host: reviews, subset: v2}, weight: 1, headers: {request: {set: {host: v2.example}}}}
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/route").Seen.Authority).To(Equal("route.example"))
		s.Expect(caller.get("reviews/alone").Seen.Authority).To(Equal("alone.example:81"))
	}
	seen := map[string]string{}
	s.Eventually(func() map[string]string {
		r := s.front.get("reviews/")
		seen[r.Version] = r.Seen.Authority
		return seen
	}).Should(Equal(map[string]string{"v1": "route.example", "v2": "v2.example"}))
}
