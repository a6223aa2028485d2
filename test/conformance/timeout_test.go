package conformance

import (
	"net/http"
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

func TestTimeout(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].timeout")
	s.serve("reviews", "v1")
	s.route("reviews", `
- timeout: 100ms
  route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		late := caller.get("reviews/", echo.DelayHeader, "1h")
		s.Expect(late.Status).To(Equal(http.StatusGatewayTimeout))
		s.Expect(late.Body).To(Equal("upstream request timeout"))
		s.Expect(caller.get("reviews/").Status).To(Equal(200))
	}
}

func TestRetryAttempts(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].retries.attempts", "VirtualService spec.http[].retries.retryOn",
		"VirtualService spec.http[].retries.backoff")
	s.serve("reviews", "v1")
	s.route("reviews", `
- match: [{uri: {prefix: /thrice}}]
  retries: {attempts: 3, retryOn: "503", backoff: 1ms}
  route: [{destination: {host: reviews}}]
- match: [{uri: {prefix: /never}}]
  retries: {attempts: 0}
  route: [{destination: {host: reviews}}]
- route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		key := caller.name
		mended := caller.get("reviews/thrice", echo.FailHeader, key+"-mended 3")
		s.Expect(mended.Status).To(Equal(200))
		s.Expect(mended.Seen.Attempt).To(Equal(4))
		broken := caller.get("reviews/thrice", echo.FailHeader, key+"-broken 9")
		s.Expect(broken.Status).To(Equal(503))
		s.Expect(broken.Seen.Attempt).To(Equal(4), "the first one and three more")
		for _, path := range []string{"never", "usual"} {
			once := caller.get("reviews/"+path, echo.FailHeader, key+path+" 1")
			s.Expect(once.Status).To(Equal(503), "a 503 may have had an effect: without a word it is not tried again")
			s.Expect(once.Seen.Attempt).To(Equal(1))
		}
	}
}

func TestRetryPerTryTimeout(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].retries.perTryTimeout")
	apps := s.serve("reviews", "v1")
	s.route("reviews", `
- retries: {attempts: 2, perTryTimeout: 50ms, retryOn: reset, backoff: 1ms}
  route: [{destination: {host: reviews}}]
`)
	s.Expect(s.front.get("reviews/", echo.DelayHeader, "1h").Status).To(Equal(http.StatusGatewayTimeout))
	s.Expect(apps["v1"].Requests()).To(HaveLen(3))
}

func TestRoutesThatAreDeletedApplyNoMore(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1")
	s.route("reviews", `
- directResponse: {status: 418}
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/").Status).To(Equal(http.StatusTeapot))
	}
	s.delete("VirtualService", "reviews")
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/").Status).To(Equal(200))
	}
}
