package v1alpha1_test

import (
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// What `make deploy` applies, against the real API server: nothing runs there, but every
// object is checked and the roles take effect.
var _ = Describe("config/default", Ordered, func() {
	BeforeAll(func() {
		kubectl("apply", "--server-side", "--force-conflicts", "-k", filepath.Join("..", "..", "config", "default"))
	})

	It("gives the manager a Deployment that meets the restricted Pod security standard", func() {
		warnings := kubectl("label", "--overwrite", "--dry-run=server", "namespace/fairlead-system",
			"pod-security.kubernetes.io/enforce=restricted")
		Expect(warnings).NotTo(ContainElement(ContainElement("Warning:")))
		Expect(kubectl("--namespace", "fairlead-system", "get", "deployment", "fairlead-manager", "-o", "name")).To(HaveLen(1))
	})

	DescribeTable("lets the manager", func(answer, namespace string, request ...string) {
		Expect(mayI("system:serviceaccount:fairlead-system:fairlead-manager", namespace, request...)).To(Equal(answer))
	},
		Entry("watch services", "yes", "default", "watch", "services"),
		Entry("watch endpoint slices", "yes", "default", "watch", "endpointslices.discovery.k8s.io"),
		Entry("watch nodes", "yes", "default", "watch", "nodes"),
		Entry("write an object's status", "yes", "default", "patch", "virtualservices.mesh.fairlead.dev", "--subresource=status"),
		Entry("not write what a person wrote", "no", "default", "update", "virtualservices.mesh.fairlead.dev"),
		Entry("not delete what a person wrote", "no", "default", "delete", "destinationrules.mesh.fairlead.dev"),
		Entry("read the mesh's settings", "yes", "fairlead-system", "watch", "configmaps"),
		Entry("not read others' settings", "no", "default", "get", "configmaps"),
		Entry("keep the Secrets of certificates, by any name", "yes", "default", "patch", "secrets"),
		Entry("write what became of certificates", "yes", "default", "patch", "meshcertificates.mesh.fairlead.dev", "--subresource=status"),
		Entry("not write service accounts", "no", "default", "update", "serviceaccounts"),
		Entry("not write pods", "no", "default", "update", "pods"),
		Entry("hold its lease", "yes", "fairlead-system", "update", "leases.coordination.k8s.io"),
		Entry("not take another's lease", "no", "kube-system", "update", "leases.coordination.k8s.io"),
	)

	DescribeTable("gives people roles", func(role, verb, resource, answer string) {
		kubectl("create", "rolebinding", "try", "--clusterrole", role, "--user", "someone")
		DeferCleanup(kubectl, "delete", "rolebinding", "try")
		Expect(mayI("someone", "default", verb, resource)).To(Equal(answer))
	},
		Entry("a viewer reads", "fairlead-virtualservice-viewer", "list", "virtualservices.mesh.fairlead.dev", "yes"),
		Entry("a viewer does not write", "fairlead-virtualservice-viewer", "create", "virtualservices.mesh.fairlead.dev", "no"),
		Entry("an editor writes", "fairlead-destinationrule-editor", "patch", "destinationrules.mesh.fairlead.dev", "yes"),
		Entry("an editor of certificates writes", "fairlead-meshcertificate-editor", "create", "meshcertificates.mesh.fairlead.dev", "yes"),
		Entry("an editor of one kind leaves the other", "fairlead-destinationrule-editor", "patch", "virtualservices.mesh.fairlead.dev", "no"),
		Entry("an administrator does all", "fairlead-virtualservice-admin", "deletecollection", "virtualservices.mesh.fairlead.dev", "yes"),
	)
})

var _ = Describe("config/samples", func() {
	It("are applied in one go, and taken out again", func() {
		folder := filepath.Join("..", "..", "config", "samples")
		kubectl("apply", "-k", folder)
		Expect(kubectl("get", "-k", folder, "-o", "name")).To(HaveLen(8))
		kubectl("delete", "-k", folder)
	})
})

// mayI asks the API server whether someone may do a thing, and gives "yes" or "no".
func mayI(who, namespace string, request ...string) string {
	GinkgoHelper()
	command := kubectlCommand(append([]string{"auth", "can-i", "--quiet", "--as", who, "--namespace", namespace}, request...)...)
	output, err := command.CombinedOutput()
	if err == nil {
		return "yes"
	}
	Expect(strings.TrimSpace(string(output))).To(BeEmpty(), "kubectl prints only what went wrong")
	return "no"
}
