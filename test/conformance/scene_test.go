package conformance

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
)

// scene is one case on the stage, in a namespace of its own.
type scene struct {
	*testing.T
	*WithT
	stage     *stage
	namespace string

	front, ledger, mobile caller
	// ingress is the first of the two ports of the gateway that are the case's own.
	ingress uint16

	// objects are those that it applied, by their ids.
	objects map[mesh.ObjectID]client.Object
	shown   shown
}

// scenes counts those that there were; the ports of the gateway begin below those that are given out.
var scenes atomic.Uint32

const firstIngressPort = 20000

// newScene begins a case that runs beside others, and says which fields it shows.
func newScene(t *testing.T, shows ...string) *scene {
	t.Helper()
	t.Parallel()
	return newSceneAlone(t, shows...)
}

// newSceneAlone is newScene for a case that changes what all share.
func newSceneAlone(t *testing.T, shows ...string) *scene {
	t.Helper()
	s := &scene{
		T: t, WithT: NewWithT(t), stage: shared, objects: map[mesh.ObjectID]client.Object{},
		namespace: strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(strings.TrimPrefix(t.Name(), "Test"))),
		shown:     newShown(shows),
	}
	s.front, s.ledger, s.mobile = caller{s, shared.proxies[front]}, caller{s, shared.proxies[ledger]}, caller{s, shared.proxies[mobile]}
	s.ingress = uint16(firstIngressPort + 2*scenes.Add(1))
	t.Cleanup(func() {
		for _, o := range s.objects {
			s.remove(o)
		}
		if t.Failed() {
			t.Logf("what the proxies and the control plane said is in %s", s.stage.log.Name())
		} else {
			s.shown.check(t)
		}
	})
	return s
}

// callers are all of them.
func (s *scene) callers() []caller { return []caller{s.front, s.ledger, s.mobile} }

// text puts the case's namespace, and its ports of the gateway, where a text wants them.
func (s *scene) text(text string) string {
	return strings.NewReplacer("NAMESPACE", s.namespace, "INGRESS2", fmt.Sprint(s.ingress+1), "INGRESS", fmt.Sprint(s.ingress)).Replace(text)
}

// apply creates or changes objects, and returns when every proxy runs them.
func (s *scene) apply(manifests string) {
	s.Helper()
	written := s.write(manifests)
	s.settle()
	for _, o := range written {
		if kinds[idOf(o).Kind].hasStatus {
			s.programmed(o)
		}
	}
}

// write creates or changes objects, and waits for nothing.
func (s *scene) write(manifests string) []client.Object {
	s.Helper()
	var written []client.Object
	for _, document := range bytes.Split([]byte(s.text(manifests)), []byte("\n---\n")) {
		if len(bytes.TrimSpace(document)) > 0 {
			written = append(written, s.put(document))
		}
	}
	return written
}

// put has one object converted and stored.
func (s *scene) put(document []byte) client.Object {
	s.Helper()
	o, kind, err := parse(document)
	s.Expect(err).NotTo(HaveOccurred())
	if o.GetNamespace() == "" {
		o.SetNamespace(s.namespace)
	}
	id := idOf(o)
	if _, judged := s.stage.admission[id.Kind]; judged {
		faults, err := s.stage.admission.Faults(s.Context(), id.Kind, o)
		s.Expect(err).NotTo(HaveOccurred())
		s.Expect(faults).To(BeEmpty(), "the API server takes\n%s", document)
		s.Expect(s.shown.note(id.Kind, document)).To(Succeed())
	}
	if before := s.objects[id]; before != nil {
		o.SetUID(before.GetUID())
		o.SetCreationTimestamp(before.GetCreationTimestamp())
		o.SetGeneration(before.GetGeneration() + 1)
	} else {
		created := s.stage.birth()
		o.SetUID(types.UID(fmt.Sprint(id, created.Unix())))
		o.SetCreationTimestamp(metav1.NewTime(created))
		o.SetGeneration(1)
	}
	s.objects[id] = o
	kind.set(s.stage, o)
	return o
}

// id names an object of the case.
func (s *scene) id(kind, name string) mesh.ObjectID {
	return mesh.ObjectID{Kind: kind, Namespace: s.namespace, Name: name}
}

// delete removes an object, and returns when no proxy has anything of it.
func (s *scene) delete(kind, name string) {
	s.Helper()
	o := s.objects[s.id(kind, name)]
	s.Expect(o).NotTo(BeNil(), "%s %s is there", kind, name)
	s.remove(o)
	s.settle()
}

func (s *scene) remove(o client.Object) {
	delete(s.objects, idOf(o))
	kinds[idOf(o).Kind].remove(s.stage, o)
}

// settle returns once everything that was changed so far is published and no proxy waits for
// anything.
func (s *scene) settle() {
	s.Helper()
	s.Eventually(s.stage.mark()).Should(BeTrue(), "what is in the store is published")
	s.Eventually(s.stage.settled).Should(BeTrue(), "every proxy acknowledges what it was sent")
}

// programmed waits until every proxy concerned runs an object.
func (s *scene) programmed(o client.Object) {
	s.Helper()
	s.Eventually(func(g Gomega) {
		status := s.status(idOf(o).Kind, o.GetName())
		for _, condition := range status.Conditions {
			if condition.Type == v1alpha1.ConditionProgrammed {
				g.Expect(condition.Status).To(Equal(metav1.ConditionTrue), "%s: %s", condition.Reason, condition.Message)
				g.Expect(condition.ObservedGeneration).To(Equal(o.GetGeneration()))
				return
			}
		}
		g.Expect(status.Conditions).NotTo(BeEmpty())
	}).Should(Succeed(), "%s is programmed", idOf(o))
}

// status returns what is told of an object of the case's namespace.
func (s *scene) status(kind, name string) v1alpha1.Status {
	s.Helper()
	status, _, found := s.stage.table.Status(s.id(kind, name))
	s.Expect(found).To(BeTrue(), "%s %s has a status", kind, name)
	return status
}

// parse reads one object.
func parse(document []byte) (client.Object, kind, error) {
	name := kindOf(document)
	k, known := kinds[name]
	if !known {
		return nil, kind{}, fmt.Errorf("kind %q has no line in kinds_test.go", name)
	}
	o, err := k.read(document)
	return o, k, err
}

func kindOf(document []byte) string {
	for line := range strings.Lines(string(document)) {
		if kind, found := strings.CutPrefix(line, "kind: "); found {
			return strings.TrimSpace(kind)
		}
	}
	return ""
}

// route applies the VirtualService of a service, and returns when every proxy runs it.
func (s *scene) route(service, http string) {
	s.Helper()
	manifest := fmt.Sprintf(`
apiVersion: mesh.fairlead.dev/v1alpha1
kind: VirtualService
metadata: {name: %[1]s}
spec:
  hosts: [%[1]s]
  http:`, service)
	for line := range strings.Lines(http) {
		manifest += "  " + line
	}
	s.apply(manifest)
}
