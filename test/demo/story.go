package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	manifests = "test/demo/manifests"
	// loadInterval is the time between two requests of the constant load. Each passes four
	// proxies, some twice, and three apps: 100 a second leave two CPUs room for the rest.
	loadInterval = 10 * time.Millisecond
	// changes is how many lone changes are timed.
	changes = 31
)

// story is what the chapters share.
type story struct {
	*stage
	told   *figures
	client client.WithWatch
	caller *caller
	began  time.Time

	load *load
	// spans of the constant load, for the figures at its end.
	shiftBegan, shiftDone, shifted, brokenBegan, weightsRefused, brokenDone time.Time
	restartsBegan, restartsDone, renewBegan, renewDone                      time.Time
}

// tell plays the chapters in turn.
func tell(ctx context.Context, s *stage, told *figures) error {
	t := &story{stage: s, told: told, began: time.Now()}
	chapters := []struct {
		title string
		play  func(context.Context) error
	}{
		{"A mesh on this machine, without a cluster", t.mesh},
		{"An application: front -> reviews v1, v2, v3 -> ratings, each with its own Envoy", t.application},
		{"All requests to v1", t.allToV1},
		{"One in ten to v2", t.split},
		{"Ann gets v3", t.header},
		{"From v1 to v2 under constant load", t.shift},
		{"A mistake that Fairlead finds, under the same load", t.brokenWeights},
		{"A mistake that only Envoy finds, under the same load", t.brokenRegex},
		{"A hot restart of every Envoy on the way, under the same load", t.hotRestarts},
		{"New certificates for everybody, under the same load", t.renew},
		{"A new root for the mesh, under the same load", t.newRoot},
		{"What became of the load", t.endLoad},
		{"An Envoy is killed", t.kill},
		{"How long a change takes, and what it all weighs", t.measure},
	}
	// However the story ends, its load does not go on.
	defer func() {
		if t.load != nil {
			t.load.stop()
		}
	}()
	for i, chapter := range chapters {
		title(s.out, fmt.Sprintf("%d. %s", i+1, chapter.title))
		if err := chapter.play(ctx); err != nil {
			return fmt.Errorf("%s: %w", chapter.title, err)
		}
		if err := s.ended(); err != nil {
			return err
		}
	}
	told.complete = true
	return nil
}

func (t *story) mesh(ctx context.Context) error {
	t.say("# To follow in another terminal:\n%s\n", t.hints())
	if err := t.up(ctx); err != nil {
		return err
	}
	var err error
	if t.client, err = t.stage.client(); err != nil {
		return err
	}
	_, err = t.kubectl(ctx, "apply", "-f", path.Join(manifests, "mesh.yaml"))
	return err
}

func (t *story) application(ctx context.Context) error {
	if err := t.runWorkloads(); err != nil {
		return err
	}
	// `kubectl wait` refuses to wait for what is not there yet.
	err := t.until(ctx, "every `fairlead run` makes its Pod", func() bool {
		var pods corev1.PodList
		return t.client.List(ctx, &pods, client.InNamespace("default")) == nil && len(pods.Items) == len(workloads)
	})
	if err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "wait", "--for=condition=Ready", "pods", "--all", "--timeout=2m"); err != nil {
		return err
	}
	address, err := t.address(ctx, t.client, "front-v1")
	if err != nil {
		return err
	}
	t.caller = newCaller("http://" + address + "/")
	t.say("\n# The front's Envoy serves on %s. Without any rule, requests go to every version of reviews:", address)
	t.say("$ curl -s %s | grep version   # 300 times", t.caller.url)
	requests, err := t.caller.batch(ctx, 300, nil)
	if err != nil {
		return err
	}
	t.say("reviews: %s", requests)
	failed, kinds := requests.failures()
	t.reasons(kinds)
	t.told.judge("300 requests without a rule: failed", failed == 0, "%d", failed)
	return nil
}

// apply applies a manifest and waits until every proxy runs it.
func (t *story) apply(ctx context.Context, manifest, object string) error {
	if _, err := t.kubectl(ctx, "apply", "-f", path.Join(manifests, manifest)); err != nil {
		return err
	}
	_, err := t.kubectl(ctx, "wait", "--for=condition=Programmed", object, "--timeout=30s")
	return err
}

// reasons prints why requests failed.
func (t *story) reasons(kinds []string) {
	for _, kind := range kinds {
		t.say("  failed: %s", kind)
	}
}

func (t *story) allToV1(ctx context.Context) error {
	if err := t.show("reviews-v1.yaml"); err != nil {
		return err
	}
	if err := t.apply(ctx, "reviews-v1.yaml", "virtualservice/reviews"); err != nil {
		return err
	}
	t.say("\n# `wait` has returned, so every proxy runs it: not one request may go elsewhere now.")
	requests, err := t.caller.batch(ctx, 300, nil)
	if err != nil {
		return err
	}
	t.say("300 requests, reviews: %s", requests)
	t.told.judge("All to v1: of 300 requests right after `wait`, v1", requests.versions()["v1"] == 300, "%d", requests.versions()["v1"])
	return nil
}

func (t *story) split(ctx context.Context) error {
	if err := t.apply(ctx, "reviews-90-10.yaml", "virtualservice/reviews"); err != nil {
		return err
	}
	const n = 1000
	requests, err := t.caller.batch(ctx, n, nil)
	if err != nil {
		return err
	}
	counts := requests.versions()
	t.say("\n%d requests, reviews: %s", n, requests)
	first := time.Since(t.began)
	t.told.judge("90/10: of 1000 requests, v1 and v2", counts["v1"]+counts["v2"] == n && nearly(counts["v2"], n, 0.1), "%d, %d", counts["v1"], counts["v2"])
	t.told.note("From the start to the first measured split", "%.1f s", first.Seconds())
	_, err = t.kubectl(ctx, "get", "virtualservice", "reviews")
	return err
}

func (t *story) header(ctx context.Context) error {
	if err := t.show("reviews-ann.yaml"); err != nil {
		return err
	}
	if err := t.apply(ctx, "reviews-ann.yaml", "virtualservice/reviews"); err != nil {
		return err
	}
	t.say("\n$ curl -s -H 'end-user: ann' %s | grep version   # 200 times", t.caller.url)
	ann, err := t.caller.batch(ctx, 200, http.Header{"End-User": {"ann"}})
	if err != nil {
		return err
	}
	t.say("reviews: %s", ann)
	t.say("$ curl -s -H 'end-user: bob' %s | grep version   # 200 times", t.caller.url)
	bob, err := t.caller.batch(ctx, 200, http.Header{"End-User": {"bob"}})
	if err != nil {
		return err
	}
	t.say("reviews: %s", bob)
	t.told.judge("Header: of Ann's 200 requests, v3", ann.versions()["v3"] == 200, "%d", ann.versions()["v3"])
	others := bob.versions()["v1"] + bob.versions()["v2"]
	t.told.judge("Header: of Bob's 200 requests, v1 or v2", others == 200, "%d", others)
	return nil
}

func (t *story) shift(ctx context.Context) error {
	t.say("# From here on a request begins every %s, answered or not.\n", loadInterval)
	t.load = t.caller.startLoad(loadInterval)
	t.shiftBegan = time.Now()
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	for _, manifest := range []string{"reviews-90-10.yaml", "reviews-50-50.yaml", "reviews-0-100.yaml"} {
		if err := t.apply(ctx, manifest, "virtualservice/reviews"); err != nil {
			return err
		}
		t.shifted = time.Now()
		if err := pause(ctx, 3*time.Second); err != nil {
			return err
		}
	}
	t.shiftDone = time.Now()
	return nil
}

func (t *story) brokenWeights(ctx context.Context) error {
	t.brokenBegan = time.Now()
	if err := t.show("broken-weights.yaml"); err != nil {
		return err
	}
	// By replace: of what apply is refused, kubectl prints the whole patch.
	said, err := t.kubectl(ctx, "replace", "-f", path.Join(manifests, "broken-weights.yaml"))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	refused := err != nil && strings.Contains(said, "spec.http[0].route")
	t.told.judge("All weights zero: refused at once, and the field named", refused, "%t", refused)
	t.say("\n# It is not stored: proxies go on with what was accepted last, everything to v2.")
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	t.weightsRefused = time.Now()
	return nil
}

func (t *story) brokenRegex(ctx context.Context) error {
	if err := t.show("broken-regex.yaml"); err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "apply", "-f", path.Join(manifests, "broken-regex.yaml")); err != nil {
		return err
	}
	rejected := `jsonpath={.status.conditions[?(@.type=="Programmed")].reason}=Rejected`
	if _, err := t.kubectl(ctx, "wait", "--for="+rejected, "virtualservice/ratings", "--timeout=30s"); err != nil {
		return err
	}
	said, err := t.conditionMessage(ctx, "Programmed", "virtualservice/ratings")
	if err != nil {
		return err
	}
	t.told.judge("Refused by Envoy: the status has Envoy's own words", strings.Contains(said, "RE2 program size"), "%t", strings.Contains(said, "RE2 program size"))
	if _, err := t.kubectl(ctx, "get", "virtualservices"); err != nil {
		return err
	}
	t.say("\n# Reviews still calls ratings, and reviews itself can still be changed:")
	if err := t.apply(ctx, "reviews-50-50.yaml", "virtualservice/reviews"); err != nil {
		return err
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	t.say("# Mended:")
	if err := t.apply(ctx, "mended-regex.yaml", "virtualservice/ratings"); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	t.brokenDone = time.Now()
	return nil
}

// conditionMessage shows and returns what the object's status says.
func (t *story) conditionMessage(ctx context.Context, condition, object string) (string, error) {
	return t.kubectl(ctx, "get", object, "-o", fmt.Sprintf(`jsonpath={.status.conditions[?(@.type=="%s")].message}`, condition))
}

func (t *story) endLoad(context.Context) error {
	all := t.load.stop()
	t.load = nil
	during, broken := all.between(t.shiftBegan, t.shiftDone), all.between(t.brokenBegan, t.brokenDone)
	// The wait for 0/100 had returned: from then on, and as long as nothing else was applied.
	after := all.between(t.shifted, t.shiftDone)
	kept := all.between(t.brokenBegan, t.weightsRefused)
	restarts := all.between(t.restartsBegan, t.restartsDone)
	renewed := all.between(t.renewBegan, t.renewDone)
	failed, kinds := all.failures()
	failedRenewing, _ := renewed.failures()
	failedRestarting, _ := restarts.failures()
	failedShifting, _ := during.failures()
	failedBroken, _ := broken.failures()
	t.say("%d requests while traffic was shifted: %s; p50 %s, p99 %s", len(during), during, round(during.percentile(.5)), round(during.percentile(.99)))
	t.say("%d requests after `wait` for 0/100 had returned: %s", len(after), after)
	t.say("%d requests while objects were broken: %s", len(broken), broken)
	t.say("%d requests while Envoys were restarted: %s; p50 %s, p99 %s", len(restarts), restarts, round(restarts.percentile(.5)), round(restarts.percentile(.99)))
	t.say("%d requests while certificates and the root were replaced: %s; p50 %s, p99 %s", len(renewed), renewed, round(renewed.percentile(.5)), round(renewed.percentile(.99)))
	t.reasons(kinds)
	t.told.judge("Shift under load: failed requests", failedShifting == 0, "%d of %d", failedShifting, len(during))
	t.told.judge("Shift under load: requests after `wait`, not to v2", len(after) > 0 && after.versions()["v2"] == len(after), "%d of %d", len(after)-after.versions()["v2"], len(after))
	t.told.judge("All weights zero: requests not served as accepted last", kept.versions()["v2"] == len(kept), "%d of %d", len(kept)-kept.versions()["v2"], len(kept))
	t.told.judge("Broken objects under load: failed requests", failedBroken == 0, "%d of %d", failedBroken, len(broken))
	t.told.judge("Hot restarts under load: failed requests", len(restarts) > 0 && failedRestarting == 0, "%d of %d", failedRestarting, len(restarts))
	t.told.judge("New certificates and root under load: failed requests", len(renewed) > 0 && failedRenewing == 0, "%d of %d", failedRenewing, len(renewed))
	t.told.judge("The whole load: failed requests", failed == 0, "%d of %d", failed, len(all))
	t.told.note("Shift under load: p50, p99 of a request (3 apps, 5 proxies)", "%s, %s", round(during.percentile(.5)), round(during.percentile(.99)))
	return nil
}

func (t *story) measure(ctx context.Context) error {
	t.say("# The weights of virtualservice/reviews are changed %d times, one change at a time. A watcher of the", changes)
	t.say("# object is told Programmed=True after:")
	before, err := t.propagationBuckets(ctx)
	if err != nil {
		return err
	}
	times, err := propagation(ctx, t.client, "reviews", changes)
	if err != nil {
		return err
	}
	after, err := t.propagationBuckets(ctx)
	if err != nil {
		return err
	}
	median, worst := times[len(times)/2], times[len(times)-1]
	t.say("median %s, worst %s; this includes writing the status and watching it", round(median), round(worst))
	counted := after.since(before)
	t.say("by the manager's own measure, up to the last proxy's acknowledgement: within 10 ms %.0f, 25 ms %.0f, 50 ms %.0f of %d", counted[.01], counted[.025], counted[.05], changes)
	t.told.note("API server's answer -> Programmed is watched: median, worst", "%s, %s", round(median), round(worst))
	t.told.note("Publication -> last proxy's ACK within 10, 25, 50 ms", "%.0f, %.0f, %.0f of %d", counted[.01], counted[.025], counted[.05], changes)

	manager, _ := t.largest("fairlead-manager")
	agent, agents := t.largest("fairlead-agent")
	envoy, _ := t.largest("envoy")
	t.told.note("Resident: manager (at most 80 MiB wanted)", "%.1f MiB", mebibytes(manager))
	t.told.note(fmt.Sprintf("Resident: the largest of %d agents (at most 18 MiB wanted)", agents), "%.1f MiB", mebibytes(agent))
	t.told.note("Resident: the largest Envoy", "%.1f MiB", mebibytes(envoy))
	if info, err := os.Stat(filepath.Join(t.root, "bin", "fairlead-agent")); err == nil {
		t.told.note("Size of the agent's binary (at most 16 MB wanted)", "%.1f MB", float64(info.Size())/1e6)
	}
	return nil
}

// show prints a manifest without its first comment's marks: it is what the chapter is about.
func (t *story) show(manifest string) error {
	content, err := os.ReadFile(filepath.Join(t.root, manifests, manifest))
	if err != nil {
		return err
	}
	t.say("$ cat %s\n%s", path.Join(manifests, manifest), content)
	return nil
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }
