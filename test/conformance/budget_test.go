package conformance

import (
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

// retried has many requests fail at the same time under a policy, and returns how many there
// were at the application.
func (s *scene) retried(policy string, n int) int {
	s.Helper()
	apps := s.serve("reviews", "v1")
	s.apply(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy: {` + policy + `}
`)
	s.route("reviews", `
- retries: {attempts: 5, retryOn: "503", backoff: 1ms}
  route: [{destination: {host: reviews}}]
`)
	s.front.many(n, "reviews/", echo.StatusHeader, "503", echo.DelayHeader, "20ms")
	return len(apps["v1"].Requests())
}

func TestRetryBudget(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.retryBudget.percent", "DestinationRule spec.trafficPolicy.retryBudget.minRetryConcurrency")
	s.Expect(s.retried("retryBudget: {percent: 0, minRetryConcurrency: 1}", 40)).To(BeNumerically("<", 160), "of 240 without a budget")
}

func TestMaxRetries(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.connectionPool.http.maxRetries")
	s.Expect(s.retried("connectionPool: {http: {maxRetries: 1}}", 40)).To(BeNumerically("<", 160), "of 240 without a limit")
}

func TestRetriesWithoutLimit(t *testing.T) {
	s := newScene(t)
	s.Expect(s.retried("connectionPool: {http: {maxRetries: 1000}}", 40)).To(Equal(240))
}
