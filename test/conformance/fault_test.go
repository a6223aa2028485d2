package conformance

import (
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func TestFaultAbort(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].fault.abort.httpStatus", "VirtualService spec.http[].fault.abort.percentage")
	apps := s.serve("reviews", "v1")
	s.route("reviews", `
- match: [{uri: {prefix: /all}}]
  fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
  route: [{destination: {host: reviews}}]
- match: [{uri: {prefix: /none}}]
  fault: {abort: {httpStatus: 418, percentage: {value: 0}}}
  route: [{destination: {host: reviews}}]
- match: [{uri: {prefix: /unset}}]
  fault: {abort: {httpStatus: 555}}
  route: [{destination: {host: reviews}}]
- fault: {abort: {httpStatus: 503, percentage: {value: 12.5}}}
  route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/all").Status).To(Equal(http.StatusTeapot))
		s.Expect(caller.get("reviews/unset").Status).To(Equal(555))
	}
	s.Expect(apps["v1"].Requests()).To(BeEmpty(), "what is aborted is not forwarded")
	for _, caller := range s.callers() {
		s.Expect(caller.get("reviews/none").Status).To(Equal(http.StatusOK))
	}
	const n = 10_000
	counts := s.front.many(n, "reviews/")
	s.Expect(n-counts["v1"]).To(beShareOf(n, 0.125), "%v", counts)
}

func TestFaultAbortGRPC(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].fault.abort.grpcStatus")
	s.serve("reviews", "v1")
	for given, number := range map[string]string{"UNAVAILABLE": "14", "7": "7"} {
		s.route("reviews", `
- fault: {abort: {grpcStatus: "`+given+`"}}
  route: [{destination: {host: reviews}}]
`)
		r := s.front.send(http.MethodPost, "reviews:9090/grpc.health.v1.Health/Check", "", "content-type", "application/grpc")
		s.Expect(r.Header.Get("Grpc-Status")).To(Equal(number))
	}
}

func TestFaultDelay(t *testing.T) {
	s := newScene(t, "VirtualService spec.http[].fault.delay.fixedDelay", "VirtualService spec.http[].fault.delay.percentage",
		"VirtualService spec.http[].fault.delay.percent")
	s.serve("reviews", "v1")
	s.route("reviews", `
- match: [{uri: {prefix: /all}}]
  fault: {delay: {fixedDelay: 200ms, percentage: {value: 100}, percent: 0}}
  route: [{destination: {host: reviews}}]
- match: [{uri: {prefix: /whole}}]
  fault: {delay: {fixedDelay: 1h, percent: 0}}
  route: [{destination: {host: reviews}}]
- fault: {delay: {fixedDelay: 200ms}, abort: {httpStatus: 418}}
  route: [{destination: {host: reviews}}]
`)
	for _, caller := range s.callers() {
		for path, status := range map[string]int{"all": http.StatusOK, "": http.StatusTeapot} {
			before := time.Now()
			s.Expect(caller.get("reviews/" + path).Status).To(Equal(status))
			s.Expect(time.Since(before)).To(BeNumerically(">=", 190*time.Millisecond))
		}
		s.Expect(caller.get("reviews/whole").Status).To(Equal(http.StatusOK), "a share of 0 %% delays nothing")
	}
}
