package conformance

import (
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

// checksOf returns the health checks that an application answered, by the connections that they
// came by: each checker has one.
func checksOf(app *echo.App, path string) map[string]int {
	checks := map[string]int{}
	for _, seen := range app.Requests() {
		if seen.Path == path {
			checks[seen.Connection]++
		}
	}
	return checks
}

// checkedAnew waits until every checker has asked once more.
func (s *scene) checkedAnew(app *echo.App, path string) {
	s.Helper()
	before := checksOf(app, path)
	s.Eventually(func() bool {
		after := checksOf(app, path)
		for connection, count := range before {
			if after[connection] <= count {
				return false
			}
		}
		return true
	}).Should(BeTrue(), "every checker asks again")
}

func TestHealthByHDS(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.activeHealthCheck.by")
	apps := s.serve("reviews", "v1", "v2")
	s.withoutRetries("reviews")
	const interval = 500 * time.Millisecond
	s.policy("reviews", `{portLevelSettings: [{port: {number: 80}, activeHealthCheck: {by: HDS, protocol: HTTP, path: /healthz, interval: 500ms, unhealthyThreshold: 1}}]}`)
	for version, app := range apps {
		s.Eventually(func() map[string]int { return checksOf(app, "/healthz") }).Should(HaveLen(3), "%s is asked by three proxies", version)
	}
	for range 5 {
		s.checkedAnew(apps["v1"], "/healthz") // what is found at first does not count
	}
	apps["v1"].Answer("/healthz", http.StatusServiceUnavailable)
	s.checkedAnew(apps["v1"], "/healthz")
	for _, caller := range s.callers() {
		s.Eventually(func() echo.Tally { return caller.many(20, "reviews/") }).WithTimeout(interval).Should(Equal(echo.Tally{"v2": 20}), "it is out within an interval")
	}
	apps["v1"].Answer("/healthz", http.StatusOK)
	s.checkedAnew(apps["v1"], "/healthz")
	for _, caller := range s.callers() {
		s.Eventually(func() echo.Tally { return caller.many(20, "reviews/") }).WithTimeout(interval).Should(And(HaveKey("v1"), HaveKey("v2")), "and back")
	}

	s.policy("reviews", `{activeHealthCheck: {by: HDS, protocol: TCP, interval: 20ms, unhealthyThreshold: 2}}`)
	apps["v1"].Close()
	s.Eventually(func() echo.Tally { return s.front.many(20, "reviews/") }).Should(Equal(echo.Tally{"v2": 20}), "by TCP")
}

func TestHealthByHDSWithMutualTLS(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.activeHealthCheck.by")
	app := s.serveMutual("reviews")
	s.withoutRetries("reviews")
	s.policy("reviews", `{activeHealthCheck: {by: HDS, protocol: HTTP, path: /healthz, interval: 50ms, unhealthyThreshold: 1}}`)
	s.Eventually(func() []echo.Seen { return app.Requests() }).Should(ContainElement(And(
		HaveField("Path", "/healthz"), HaveField("Peer", HavePrefix("spiffe://")))), "checkers show who they are")
	s.Expect(s.front.get("reviews/").Status).To(Equal(200))
	app.Answer("/healthz", http.StatusServiceUnavailable)
	s.Eventually(func() int { return s.front.get("reviews/").Status }).Should(Equal(503), "nobody else is there")
	app.Answer("/healthz", http.StatusOK)
	s.Eventually(func() int { return s.front.get("reviews/").Status }).Should(Equal(200), "and back")
}
