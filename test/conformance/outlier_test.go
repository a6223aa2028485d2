package conformance

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

// withoutRetries routes to a service so that every failure is seen.
func (s *scene) withoutRetries(service string) {
	s.Helper()
	s.route(service, `
- retries: {attempts: 0}
  route: [{destination: {host: `+service+`}}]
`)
}

func TestOutlierDetection(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.outlierDetection.consecutive5xxErrors",
		"DestinationRule spec.trafficPolicy.outlierDetection.consecutiveGatewayErrors",
		"DestinationRule spec.trafficPolicy.outlierDetection.consecutiveErrors",
		"DestinationRule spec.trafficPolicy.outlierDetection.splitExternalLocalOriginErrors",
		"DestinationRule spec.trafficPolicy.outlierDetection.consecutiveLocalOriginFailures",
		"DestinationRule spec.trafficPolicy.outlierDetection.interval",
		"DestinationRule spec.trafficPolicy.outlierDetection.baseEjectionTime",
		"DestinationRule spec.trafficPolicy.outlierDetection.maxEjectionPercent")
	apps := s.serve("reviews", "v1", "v2")
	s.withoutRetries("reviews")
	apps["v1"].Close()
	s.Expect(s.front.many(40, "reviews/").Failed()).NotTo(BeEmpty(), "v1 is called as long as nobody says otherwise")
	for _, errors := range []string{
		`consecutive5xxErrors: 2`,
		`consecutive5xxErrors: 0, consecutiveGatewayErrors: 2`,
		`consecutive5xxErrors: 0, consecutiveErrors: 2`,
		`consecutive5xxErrors: 0, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2`,
	} {
		s.policy("reviews", `{outlierDetection: {`+errors+`, interval: 10ms, baseEjectionTime: 1h, maxEjectionPercent: 50}}`)
		s.Eventually(func() echo.Tally { return s.front.many(20, "reviews/") }).Should(Equal(echo.Tally{"v2": 20}), errors)
	}
}

func TestOutliersByStatus(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.outlierDetection.outlierDetectionHttpErrorCodes",
		"DestinationRule spec.trafficPolicy.outlierDetection.minHealthPercent",
		"DestinationRule spec.trafficPolicy.outlierDetection.baseEjectionTime")
	s.serve("reviews", "v1")
	s.withoutRetries("reviews")
	s.policy("reviews", `{outlierDetection: {consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [418, 419], interval: 10ms, baseEjectionTime: 300ms, minHealthPercent: 0}}`)
	failures := func(status string) int {
		for range 4 {
			s.front.get("reviews/", echo.StatusHeader, status)
		}
		return s.front.get("reviews/").Status
	}
	s.Expect(failures("500")).To(Equal(200), "others are no errors then")
	s.Expect(failures("419")).To(Equal(503), "its one endpoint is out")
	s.Eventually(func() int { return s.front.get("reviews/").Status }).WithPolling(50*time.Millisecond).Should(Equal(200), "and comes back")
	s.policy("reviews", `{outlierDetection: {consecutive5xxErrors: 2, outlierDetectionHttpErrorCodes: [418], interval: 10ms, baseEjectionTime: 1h, minHealthPercent: 50}}`)
	s.Expect(failures("418")).To(Equal(200), "below that share all are used")
}

func TestActiveHealthCheck(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.activeHealthCheck.protocol", "DestinationRule spec.trafficPolicy.activeHealthCheck.path",
		"DestinationRule spec.trafficPolicy.activeHealthCheck.interval", "DestinationRule spec.trafficPolicy.activeHealthCheck.timeout",
		"DestinationRule spec.trafficPolicy.activeHealthCheck.healthyThreshold", "DestinationRule spec.trafficPolicy.activeHealthCheck.unhealthyThreshold",
		"DestinationRule spec.trafficPolicy.activeHealthCheck.service")
	apps := s.serve("reviews", "v1", "v2")
	s.withoutRetries("reviews")
	const soon = `interval: 20ms, timeout: 1s, healthyThreshold: 1, unhealthyThreshold: 2`
	s.policy("reviews", `{activeHealthCheck: {protocol: HTTP, path: /healthz, `+soon+`}}`)
	s.Eventually(func() []echo.Seen { return apps["v1"].Requests() }).Should(
		ContainElement(And(HaveField("Path", "/healthz"), HaveField("Authority", "reviews."+s.namespace+".svc.cluster.local"))), "the application is asked")
	s.Expect(s.front.many(20, "reviews/").Failed()).To(BeEmpty())
	apps["v1"].Close()
	s.Eventually(func() echo.Tally { return s.front.many(20, "reviews/") }).Should(Equal(echo.Tally{"v2": 20}), "by HTTP")
	s.policy("reviews", `{activeHealthCheck: {protocol: TCP, `+soon+`}}`)
	s.Eventually(func() echo.Tally { return s.front.many(20, "reviews/") }).Should(Equal(echo.Tally{"v2": 20}), "by TCP")

	s.policy("reviews", `{portLevelSettings: [{port: {number: 9090}, activeHealthCheck: {protocol: GRPC, `+soon+`}}]}`)
	s.Eventually(func() echo.Tally { return s.front.many(20, "reviews:9090/") }).Should(Equal(echo.Tally{"v2": 20}), "by gRPC")
	s.policy("reviews", `{activeHealthCheck: {protocol: GRPC, service: unknown, `+soon+`}}`)
	s.Eventually(func() int { return s.front.get("reviews:9090/").Status }).Should(Equal(503), "the server knows no such service")
}
