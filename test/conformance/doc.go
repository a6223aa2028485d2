// Package conformance tests what each field does to traffic: objects go the whole way through
// convert, the store, publish and xds to real Envoys, and each case asserts on what an
// application saw or a client got.
//
// One test function is one case, in the file of its task. A case has a namespace of its own,
// named after it, so that all may use the same names:
//
//		func TestTimeout(t *testing.T) {
//			s := newScene(t, "VirtualService spec.http[].timeout")
//			s.serve("reviews", "v1")
//			s.route("reviews", `
//		- timeout: 100ms
//		  route: [{destination: {host: reviews}}]
//		`)
//			s.Expect(s.front.get("reviews/", echo.DelayHeader, "1h").Status).To(Equal(504))
//		}
//
//	  - newScene names the fields that the case shows, each as "KIND FIELD" in the spelling of
//	    docs/compatibility.md, which is written from these calls. A field stands for all below
//	    it, and the case fails if it sets not each of them. Cases run beside each other; one
//	    that changes what all share, such as the settings of the mesh, begins by newSceneAlone.
//	  - serve makes a Service with a Pod for each version ("v2@b" is one on Node b): each a
//	    server in this process that answers what it saw (package echo), returned by version. It
//	    has the ports http (80), http-other (8081), grpc (9090) and tcp-lines (9000).
//	  - apply takes any objects as YAML, and returns when every proxy runs them: nothing has to
//	    be waited for afterwards. The API server's own rules are applied too, by the CRDs. route
//	    applies the VirtualService of a service. write returns at once, for what is not to be
//	    accepted, or not to be acknowledged; status tells what became of it. Everything is
//	    removed when the case ends.
//	  - front, ledger and mobile are callers: front (namespace default, labels app=front and
//	    team=shop, Node a, incremental xDS) and ledger (namespace bank, labels app=ledger and
//	    team=bank, Node c, state of the world) call their proxies by address; the traffic of
//	    mobile (namespace default, app=mobile, Node a) is intercepted. A target is written as
//	    "reviews/path": a name without a dot is a service of the case's namespace.
//	  - The word NAMESPACE in manifests, targets and headers stands for the case's namespace.
//
// After adding a case, `go test ./internal/validate -run Compat -update` writes the page anew.
//
// A kind that is new gets a line in kinds_test.go. Nodes a and b are in zones eu-1 and eu-2 of
// region eu, c is in us-1 of region us.
package conformance
