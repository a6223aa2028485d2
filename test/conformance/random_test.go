package conformance

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

// Random changes go on for a while, or for a whole minute where all is wanted:
// FAIRLEAD_CONFORMANCE=full.
const (
	shortRandom, fullRandom = 15 * time.Second, time.Minute
	changesASecond          = 10.0 / 3
	loadInterval            = 15 * time.Millisecond
)

// What is changed answers every request, at all times: no route leads nowhere, and no fault is
// asked for. What fails is our fault.
func TestRandomChangesUnderLoad(t *testing.T) {
	s := newSceneAlone(t)
	length := shortRandom
	if os.Getenv("FAIRLEAD_CONFORMANCE") == "full" {
		length = fullRandom
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := &randomChanges{scene: s, Rand: rand.New(rand.NewPCG(seed, seed))}
	r.begin()

	var loads []*echo.Load
	for _, service := range randomServices {
		for _, caller := range s.callers() {
			for _, lane := range []string{"a", "b"} {
				load := echo.StartLoad(loadInterval, caller.url(service+"/items"), []string{"Lane", lane}, caller.http)
				t.Cleanup(func() { load.Stop() })
				loads = append(loads, load)
			}
		}
	}
	began := time.Now()
	ticker := time.NewTicker(time.Duration(float64(time.Second) / changesASecond))
	defer ticker.Stop()
	var changes []string
	for time.Since(began) < length {
		changes = append(changes, r.change())
		<-ticker.C
	}
	total, failed := 0, echo.Tally{}
	for _, load := range loads {
		counts := load.Stop()
		total += counts.Total()
		for word, n := range counts.Failed() {
			failed[word] += n
		}
	}
	took := time.Since(began)
	t.Logf("%d changes and %d requests in %s, %.0f a second", len(changes), total, took, float64(total)/took.Seconds())
	s.Expect(failed).To(BeEmpty(), "after %s", strings.Join(changes, "\n"))
	if length == fullRandom {
		s.Expect(float64(total)/took.Seconds()).To(BeNumerically(">=", 500), "requests a second")
	}
	s.settle()
	for id, o := range s.objects {
		if kinds[id.Kind].hasStatus {
			s.programmed(o)
		}
	}
}

// randomServices are those that are called; each has the versions v1 and v2, with two Pods each.
var randomServices = []string{"reviews", "ratings"}

// randomChanges makes changes, each of which leaves the mesh valid.
type randomChanges struct {
	*rand.Rand
	scene *scene
	// slices are the second Pods' by service and version, and whether they are there.
	slices map[string]string
	away   map[string]bool
	turn   int
}

func (r *randomChanges) begin() {
	r.slices, r.away = map[string]string{}, map[string]bool{}
	for _, service := range randomServices {
		r.scene.serve(service, "v1", "v2")
		for _, version := range []string{"v1", "v2"} {
			_, address := r.scene.application(version)
			name := service + "-" + version
			// The version is the label; the name is another.
			second := strings.ReplaceAll(pod(service, version, "b", address)+slice(service, version, address), "name: "+name, "name: "+name+"-second")
			r.slices[name] = second
			r.scene.apply(second)
		}
		r.scene.apply(r.policy(service))
	}
}

// oneOf picks.
func oneOf[T any](r *randomChanges, list ...T) T { return list[r.IntN(len(list))] }

// change makes one, without waiting for what becomes of it, and says which.
func (r *randomChanges) change() string {
	r.turn++
	service := oneOf(r, randomServices...)
	manifest := ""
	switch kind := oneOf(r, randomKinds...); kind {
	case "routes":
		manifest = r.routes(service)
	case "no routes":
		if o := r.scene.objects[r.scene.id("VirtualService", service)]; o != nil {
			r.scene.remove(o)
			return "no routes of " + service
		}
		manifest = r.routes(service)
	case "policy":
		manifest = r.policy(service)
	case "endpoints":
		return r.endpoints(service + "-" + oneOf(r, "v1", "v2"))
	case "service":
		name := fmt.Sprint("extra-", r.IntN(3))
		if o := r.scene.objects[r.scene.id("Service", name)]; o != nil {
			r.scene.remove(o)
			return "no service " + name
		}
		manifest = r.scene.service(name)
	}
	r.scene.write(manifest)
	return manifest
}

var randomKinds = []string{"routes", "routes", "routes", "policy", "policy", "endpoints", "endpoints", "service", "no routes"}

// endpoints takes away a second Pod, or brings it back.
func (r *randomChanges) endpoints(name string) string {
	manifest := r.slices[name]
	if r.away[name] = !r.away[name]; r.away[name] {
		manifest = strings.Replace(manifest, "ready: true", "ready: false", 1)
	}
	r.scene.write(manifest)
	return fmt.Sprintf("second Pod of %s away: %t", name, r.away[name])
}

// routes are any that answer every request.
func (r *randomChanges) routes(service string) string {
	var routes []string
	for _, match := range []string{
		`{match: [{headers: {lane: {exact: ` + oneOf(r, "a", "b", "c") + `}}}], `,
		`{match: [{uri: {prefix: /` + oneOf(r, "items", "other", "") + `}, method: {regex: 'G.T'}}], `,
		`{`,
	} {
		if match == `{` || r.IntN(2) == 0 {
			routes = append(routes, "  - "+match+r.action()+"}\n")
		}
	}
	return fmt.Sprintf(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: %[1]s}
spec:
  hosts: [%[1]s]
  http:
%[2]s`, service, strings.Join(routes, ""))
}

// action is what is done with a request that a route takes.
func (r *randomChanges) action() string {
	extras := []string{
		`timeout: 30s`, `retries: {attempts: 0}`, `retries: {attempts: 2, retryOn: "reset,503"}`,
		fmt.Sprintf(`headers: {request: {set: {x-turn: "%d"}}, response: {add: {x-turn: "%[1]d"}}}`, r.turn),
		`rewrite: {uri: /elsewhere}`, `rewrite: {authority: other.example}`,
	}
	r.Shuffle(len(extras), func(i, j int) { extras[i], extras[j] = extras[j], extras[i] })
	fields := map[string]bool{}
	action := r.destinations()
	for _, extra := range extras[:r.IntN(3)] {
		name, _, _ := strings.Cut(extra, ":")
		if !fields[name] {
			fields[name] = true
			action += ", " + extra
		}
	}
	return action
}

func (r *randomChanges) destinations() string {
	target := func() string {
		service, version := oneOf(r, randomServices...), oneOf(r, "v1", "v2")
		return oneOf(r,
			fmt.Sprintf(`{host: %s}`, service),
			fmt.Sprintf(`{host: %s, subset: %s}`, service, version),
			fmt.Sprintf(`{host: %s, labels: {version: %s}}`, service, version),
			fmt.Sprintf(`{host: %s, port: {number: %d}}`, service, oneOf(r, 80, 8081, 9090)))
	}
	if r.IntN(2) == 0 {
		return fmt.Sprintf(`route: [{destination: %s}]`, target())
	}
	share := r.IntN(101)
	return fmt.Sprintf(`route: [{destination: %s, weight: %d}, {destination: %s, weight: %d}]`, target(), share, target(), 100-share)
}

// policy always has the subsets that routes name.
func (r *randomChanges) policy(service string) string {
	more := ""
	for i := range r.IntN(3) {
		more += fmt.Sprintf("\n  - {name: more-%d, labels: {version: %s}}", i, oneOf(r, "v1", "v2"))
	}
	return strings.ReplaceAll(subsets, "reviews", service) + strings.TrimPrefix(more+"\n", "\n") + "  trafficPolicy: {" + strings.Join(r.traffic(), ", ") + "}\n"
}

// traffic is how connections are made, such that all requests are answered.
func (r *randomChanges) traffic() []string {
	all := []string{`tls: {mode: DISABLE}`}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+r.IntN(len(all))]
}
