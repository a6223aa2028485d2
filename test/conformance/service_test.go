package conformance

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
)

// headless makes a Service without an address, with a Pod whose labels are given with commas
// after them, and returns the Pod's address, on this machine. Its ports are http (80) and tcp, the
// application's port that is given.
func (s *scene) headless(name, version, labels string, port int) string {
	s.Helper()
	_, address := s.application(version)
	address = reached(s, address)
	s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {clusterIP: None, selector: {app: %[1]s}, ports: [{name: http, port: 80}, {name: tcp, port: %[5]d}]}
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s-0, labels: {%[3]sapp: %[1]s}, annotations: {mesh.fairlead.dev/mtls: STRICT}}
spec: {serviceAccountName: %[1]s, containers: []}
status: {podIP: %[4]s, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s-%[2]s, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
endpoints: [{addresses: [%[4]s], hostname: %[1]s-0, conditions: {ready: true}, targetRef: {kind: Pod, name: %[1]s-0}}]
ports: [{name: http, port: %[6]d}, {name: tcp, port: %[5]d}]
`, name, version, labels, address, port, httpPort))
	return address
}

func TestHeadlessServiceByMutualTLS(t *testing.T) {
	s := newScene(t)
	pod := s.headless("reviews", "v1", v1alpha1.TLSModeLabel+": mutual, ", tlsPort)
	s.Expect(s.mobile.get(fmt.Sprintf("%s:%d/", pod, tlsPort)).Seen.Peer).To(Equal(s.mobile.identity()))
}

func TestPodsOfAHeadlessServiceByName(t *testing.T) {
	s := newScene(t)
	s.headless("db", "v1", "", linesPort)
	_, second := s.application("v2")
	s.apply(fmt.Sprintf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-more, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
endpoints: [{addresses: [%s], hostname: db-1, conditions: {ready: true}}]
ports: [{name: http, port: %d}]
`, second, httpPort))
	for _, caller := range s.callers() {
		for pod, version := range map[string]string{"db-0": "v1", "db-1": "v2"} {
			for range 5 {
				s.Expect(caller.get(pod+".db.NAMESPACE.svc.cluster.local/").Version).To(Equal(version), "%s of %s", pod, caller.name)
			}
		}
		s.Expect(caller.many(50, s.text("db.NAMESPACE.svc.cluster.local/"))).To(And(HaveKey("v1"), HaveKey("v2")), "the service is all of them")
	}
}

func TestExternalName(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1")
	_, outside := s.application("outside")
	const external = `
---
apiVersion: v1
kind: Service
metadata: {name: %s}
spec: {type: ExternalName, externalName: %s, ports: [{name: http, port: %d}]}
`
	s.apply(fmt.Sprintf(external, "old-reviews", "reviews.NAMESPACE.svc.cluster.local", 80) +
		fmt.Sprintf(external, "elsewhere", reached(s, outside), httpPort))
	for _, caller := range s.callers() {
		s.Expect(caller.get("old-reviews/").Version).To(Equal("v1"), caller.name)
		s.Expect(caller.get(fmt.Sprintf("elsewhere:%d/", httpPort)).Version).To(Equal("outside"), caller.name)
	}
}

// set changes the settings of the mesh until the case ends.
func (s *scene) set(settings mesh.Settings) {
	s.Helper()
	s.stage.store.SetSettings(settings)
	s.Cleanup(func() { s.stage.store.SetSettings(mesh.Settings{}) })
	s.settle()
}

func TestCallsOutsideTheMesh(t *testing.T) {
	s := newSceneAlone(t)
	_, known := s.application("known")
	_, other := s.application("other")
	other = reached(s, other)
	s.apply(entry("known.NAMESPACE.example", fmt.Sprintf(`
  resolution: STATIC
  ports: [{number: %d, name: http, protocol: HTTP}]
  endpoints: [{address: %s}]
`, httpPort, known)))
	byHost := func(host string) string {
		r := s.mobile.get(fmt.Sprintf("%s:%d/", other, httpPort), "Host", host)
		return fmt.Sprint(r.Status, " ", r.Version)
	}
	s.Expect(byHost("unknown.example")).To(Equal("200 other"), "ALLOW_ANY, as it is unless set")
	greeting, _ := s.mobile.converse(other, linesPort, "hello")
	s.Expect(greeting).To(Equal("this is other\n"))

	s.set(mesh.Settings{RegistryOnly: true})
	s.Expect(byHost("unknown.example")).To(Equal("502 "))
	s.Expect(byHost("known.NAMESPACE.example")).To(Equal("200 known"))
	_, err := s.mobile.dial(other, linesPort).Read(make([]byte, 1))
	s.Expect(err).To(HaveOccurred(), "the connection is closed")
}

func TestNamespacesSeeOthers(t *testing.T) {
	s := newSceneAlone(t)
	s.serve("reviews", "v1")
	statuses := func() (all []int) {
		for _, caller := range s.callers() {
			all = append(all, caller.get("reviews/").Status)
		}
		return all
	}
	s.Expect(statuses()).To(Equal([]int{200, 200, 200}))
	s.apply(`
apiVersion: v1
kind: Namespace
metadata: {name: bank, annotations: {mesh.fairlead.dev/sees: "bank, other"}}
`)
	s.Expect(statuses()).To(Equal([]int{200, 404, 200}), "ledger's namespace does not see it")
	s.set(mesh.Settings{Scope: []string{"other"}})
	s.Expect(statuses()).To(Equal([]int{404, 404, 404}))
	s.set(mesh.Settings{Scope: []string{"other", s.namespace}})
	s.Expect(statuses()).To(Equal([]int{200, 404, 200}), "the namespace's own word goes before")
}
