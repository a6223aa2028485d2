package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

// policy applies the DestinationRule of a service, with a traffic policy.
func (s *scene) policy(service, traffic string) {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: DestinationRule
metadata: {name: %[1]s}
spec: {host: %[1]s, trafficPolicy: %[2]s}
`, service, traffic))
}

func TestRoundRobin(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.loadBalancer.simple")
	s.serve("reviews", "v1", "v2")
	s.policy("reviews", `{loadBalancer: {simple: ROUND_ROBIN}}`)
	for _, caller := range s.callers() {
		s.Expect(caller.many(40, "reviews/")).To(Equal(echo.Tally{"v1": 20, "v2": 20}))
	}
	const n = 2_000
	for _, algorithm := range []string{"RANDOM", "LEAST_REQUEST", "LEAST_CONN", "UNSPECIFIED"} {
		s.policy("reviews", `{loadBalancer: {simple: `+algorithm+`}}`)
		s.Expect(s.front.many(n, "reviews/")["v1"]).To(beShareOf(n, 0.5), algorithm)
	}
}

func TestPassthroughWhereNoAddressWasChosen(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.loadBalancer.simple")
	s.serve("reviews", "v1")
	s.policy("reviews", `{loadBalancer: {simple: PASSTHROUGH}}`)
	s.Expect(s.front.many(20, "reviews/")).To(Equal(echo.Tally{"v1": 20}))
}

// sticks asserts that requests with one key go to one endpoint, and those with others to others.
// A request is a target and headers in which KEY stands for the key.
func (c caller) sticks(target string, headers ...string) {
	c.scene.Helper()
	all := echo.Tally{}
	for key := range 30 {
		with := func(text string) string { return strings.ReplaceAll(text, "KEY", fmt.Sprint("key-", key)) }
		var given []string
		for _, header := range headers {
			given = append(given, with(header))
		}
		counts := c.many(4, with(target), given...)
		c.scene.Expect(counts).To(HaveLen(1), "%s of key %d", target, key)
		for version := range counts {
			all[version]++
		}
	}
	c.scene.Expect(all).To(HaveLen(3), "each endpoint has some of 30 keys")
	c.scene.Expect(all.Failed()).To(BeEmpty())
}

func TestConsistentHashByHeader(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.loadBalancer.consistentHash.httpHeaderName",
		"DestinationRule spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize",
		"DestinationRule spec.trafficPolicy.loadBalancer.consistentHash.ringHash.minimumRingSize",
		"DestinationRule spec.trafficPolicy.loadBalancer.consistentHash.minimumRingSize")
	s.serve("reviews", "v1", "v2", "v3")
	for _, algorithm := range []string{"", ", maglev: {tableSize: 5003}", ", ringHash: {minimumRingSize: 2048}", ", minimumRingSize: 512"} {
		s.policy("reviews", `{loadBalancer: {consistentHash: {httpHeaderName: x-user`+algorithm+`}}}`)
		for _, caller := range s.callers() {
			caller.sticks("reviews/", "X-User", "KEY")
		}
	}
}

func TestConsistentHashByQueryParameter(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.loadBalancer.consistentHash.httpQueryParameterName")
	s.serve("reviews", "v1", "v2", "v3")
	s.policy("reviews", `{loadBalancer: {consistentHash: {httpQueryParameterName: user}}}`)
	for _, caller := range s.callers() {
		caller.sticks("reviews/?user=KEY")
	}
}

func TestConsistentHashByCookie(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.loadBalancer.consistentHash.httpCookie")
	s.serve("reviews", "v1", "v2", "v3")
	s.policy("reviews", `{loadBalancer: {consistentHash: {httpCookie: {name: user, path: /shop, ttl: 60s, attributes: [{name: SameSite, value: Strict}]}}}}`)
	for _, caller := range s.callers() {
		caller.sticks("reviews/", "Cookie", "user=KEY")
	}
	first := s.front.get("reviews/")
	given := first.Header.Get("Set-Cookie")
	s.Expect(given).To(And(HavePrefix("user="), ContainSubstring("Max-Age=60"), ContainSubstring("Path=/shop"), ContainSubstring("SameSite=Strict")))
	cookie, _, _ := strings.Cut(given, ";")
	s.Expect(s.front.many(20, "reviews/", "Cookie", cookie)).To(Equal(echo.Tally{first.Version: 20}), "the endpoint that made it known")
}

func TestConsistentHashBySourceIP(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.loadBalancer.consistentHash.useSourceIp")
	s.serve("reviews", "v1", "v2", "v3")
	s.policy("reviews", `{loadBalancer: {consistentHash: {useSourceIp: true}}}`)
	s.Expect(s.front.many(40, "reviews/")).To(HaveLen(1))
	_, first := s.mobile.converse("reviews", 9000, "a")
	for range 5 {
		_, again := s.mobile.converse("reviews", 9000, "a")
		s.Expect(again).To(Equal(first), "bytes too")
	}
}

// When one of n endpoints goes, the keys that it had move, and few others.
func TestConsistentHashMovesFewKeys(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.loadBalancer.consistentHash.httpHeaderName")
	s.serve("reviews", "v1", "v2", "v3", "v4", "v5")
	s.policy("reviews", `{loadBalancer: {consistentHash: {httpHeaderName: x-user}}}`)
	const keys, endpoints = 1_000, 5
	owners := func() []string {
		all := make([]string, keys)
		for key := range all {
			all[key] = s.front.get("reviews/", "X-User", fmt.Sprint("key-", key)).Version
		}
		return all
	}
	before := owners()
	s.delete("EndpointSlice", "reviews-v3")
	moved := 0
	for key, owner := range owners() {
		s.Expect(owner).To(BeElementOf("v1", "v2", "v4", "v5"))
		if owner != before[key] {
			moved++
		}
	}
	s.Logf("%d of %d keys moved, %d had been the endpoint's that went", moved, keys, len(slices.DeleteFunc(before, func(v string) bool { return v != "v3" })))
	s.Expect(moved).To(BeNumerically("<=", keys/endpoints+keys/20))
}

func TestWarmup(t *testing.T) {
	s := newScene(t, "DestinationRule spec.trafficPolicy.loadBalancer.warmup", "DestinationRule spec.trafficPolicy.loadBalancer.warmupDurationSecs")
	s.serve("reviews", "v1")
	for _, warmup := range []string{`warmup: {duration: 2s, minimumPercent: 10, aggression: 1}`, `warmupDurationSecs: 2s`} {
		s.policy("reviews", `{loadBalancer: {simple: ROUND_ROBIN, `+warmup+`}}`)
		known := time.Now()
		s.Eventually(func() time.Duration { return time.Since(known) }).Should(BeNumerically(">", 2*time.Second), "v1 is warm")
		_, address := s.application("v2")
		s.apply(pod("reviews", "v2", "", address) + slice("reviews", "v2", address))
		const n = 100
		s.Expect(s.front.many(n, "reviews/")["v2"]).To(BeNumerically("<", n/4), warmup)
		s.Eventually(func() int { return s.front.many(n, "reviews/")["v2"] }).Should(BeNumerically(">", n*4/10), warmup)
		s.delete("EndpointSlice", "reviews-v2")
	}
}
