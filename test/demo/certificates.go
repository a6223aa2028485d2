package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
)

// served is what an agent says of the certificate that its Envoy is proven to serve.
type served struct {
	Certificates struct {
		Certificate struct {
			Serial  string
			Root    string
			Trusted []string
		}
		Proven time.Time
	}
}

// certificates are those of all proxies, as far as they are proven, by workload.
func (t *story) certificates(ctx context.Context) (map[string]served, error) {
	all := map[string]served{}
	for _, w := range workloads {
		p, err := t.proxy(ctx, w.name())
		if err != nil {
			return nil, err
		}
		var one served
		if err := p.ask(ctx, &one); err != nil {
			return nil, err
		}
		if !one.Certificates.Proven.IsZero() {
			all[w.name()] = one
		}
	}
	return all, nil
}

// others returns how many proxies are proven to serve another certificate than before.
func others(before, now map[string]served) int {
	count := 0
	for name, one := range now {
		if one.Certificates.Certificate.Serial != before[name].Certificates.Certificate.Serial {
			count++
		}
	}
	return count
}

// renew has every certificate of the application renewed.
func (t *story) renew(ctx context.Context) error {
	t.renewBegan = time.Now()
	t.say("# Proxies call each other by mutual TLS. Certificates are renewed at night, when the mesh is quiet; for this")
	t.say("# story, the settings make the whole day a night, and end connections after 5 s:")
	if err := t.show("settings.yaml"); err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-f", path.Join(manifests, "settings.yaml")); err != nil {
		return err
	}
	if _, err := t.kubectl(ctx, "apply", "-f", path.Join(manifests, "certificate.yaml")); err != nil {
		return err
	}
	before, err := t.certificates(ctx)
	if err != nil {
		return err
	}
	t.say("\n# Nobody has to wait for the night: an annotation asks for new certificates now.")
	asked := time.Now()
	if _, err := t.kubectl(ctx, "annotate", "serviceaccounts", "front", "reviews", "ratings", v1alpha1.RenewAnnotation+"=now"); err != nil {
		return err
	}
	var now map[string]served
	err = t.until(ctx, "every Envoy is proven to serve another certificate", func() bool {
		now, err = t.certificates(ctx)
		return err == nil && others(before, now) == len(workloads)
	})
	if err != nil {
		return err
	}
	t.say("# %d Envoys are proven, each by a handshake, to serve another certificate: %s after the command, no restart.", others(before, now), time.Since(asked).Round(10*time.Millisecond))
	if _, err := t.kubectl(ctx, "get", "meshcertificates", "--all-namespaces"); err != nil {
		return err
	}
	t.told.judge("Renewal: Envoys with another certificate, of 5", others(before, now) == len(workloads), "%d", others(before, now))
	return pause(ctx, time.Second)
}

// newRoot replaces the mesh's root.
func (t *story) newRoot(ctx context.Context) error {
	key := client.ObjectKey{Namespace: "fairlead-system", Name: "mesh-root"}
	old, err := t.certificates(ctx)
	if err != nil {
		return err
	}
	t.say("# A root is never replaced in one step. Each step waits until every proxy has proven the one before; an old root")
	t.say("# goes only when no proxy serves, or is still connected by, a certificate that leads to it.")
	if _, err := t.kubectl(ctx, "annotate", "-n", key.Namespace, "meshcertificate", key.Name, v1alpha1.RenewAnnotation+"=now"); err != nil {
		return err
	}
	phases, err := t.phases(ctx, key)
	if err != nil {
		return err
	}
	now, err := t.certificates(ctx)
	if err != nil {
		return err
	}
	moved := 0
	for name, one := range now {
		c := one.Certificates.Certificate
		if c.Root != old[name].Certificates.Certificate.Root && slices.Equal(c.Trusted, []string{c.Root}) {
			moved++
		}
	}
	t.renewDone = time.Now()
	t.told.judge("New root: all phases in their order", strings.Join(phases, " ") == "Prepared TrustDistributed Activated LeavesMoved Revoked Stable", "%t", len(phases) == 6)
	t.told.judge("New root: proxies that serve by it, and trust no other, of 5", moved == len(workloads), "%d", moved)
	return nil
}

// phases tells each phase of the change of the root until it is over.
func (t *story) phases(ctx context.Context, key client.ObjectKey) ([]string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("the change of the root is not over after %s", startTimeout))
	defer cancel()
	watcher, err := t.client.Watch(ctx, &v1alpha1.MeshCertificateList{}, client.InNamespace(key.Namespace))
	if err != nil {
		return nil, err
	}
	defer watcher.Stop()
	var phases []string
	began := time.Now()
	for event := range watcher.ResultChan() {
		root, ok := event.Object.(*v1alpha1.MeshCertificate)
		if !ok || root.Name != key.Name || root.Status.Phase == nil {
			continue
		}
		now := root.Status.Phase.Name
		if len(phases) == 0 && now == "Stable" || len(phases) > 0 && phases[len(phases)-1] == now {
			continue
		}
		phases = append(phases, now)
		t.say("%5.1fs  %-17s %s", time.Since(began).Seconds(), now, meaning[now])
		if now == "Stable" {
			return phases, nil
		}
	}
	return phases, errors.Join(context.Cause(ctx), errors.New("the watch of mesh-root ended"))
}

// meaning says what is true in a phase.
var meaning = map[string]string{
	"Prepared":         "there is a second root, and every proxy is being told to trust it too",
	"TrustDistributed": "every proxy is proven to trust both",
	"Activated":        "the new one signs; certificates are being renewed",
	"LeavesMoved":      "every proxy is proven to serve a certificate of the new one; old connections reach their age",
	"Revoked":          "the old one goes",
	"Stable":           "one root, trusted by all",
}

// ask reads an agent's /status.
func (p proxy) ask(ctx context.Context, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/status", nil)
	if err != nil {
		return err
	}
	response, err := p.client().Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}
