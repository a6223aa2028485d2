package controllers_test

import (
	"log/slog"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/test/testenv"
)

var _ = Describe("Waiting for the kinds", func() {
	log := slog.New(slog.NewTextHandler(GinkgoWriter, nil))

	It("ends as soon as they are there", func(ctx SpecContext) {
		Expect(controllers.AwaitKinds(ctx, api.Config, time.Minute, log)).To(Succeed())
	})

	It("tells where no API server answers", func(ctx SpecContext) {
		nowhere := &rest.Config{Host: "https://127.0.0.1:1"}
		Expect(controllers.AwaitKinds(ctx, nowhere, 300*time.Millisecond, log)).
			To(MatchError(SatisfyAll(ContainSubstring("https://127.0.0.1:1"), ContainSubstring("connection refused"))))
	})

	It("tells that somebody may not look", func(ctx SpecContext) {
		nobody := rest.AnonymousClientConfig(api.Config)
		Expect(controllers.AwaitKinds(ctx, nobody, 300*time.Millisecond, log)).
			To(MatchError(ContainSubstring("ask for the kinds of v1")))
	})

	It("tells that the CRDs are missing, and goes on when they come", func(ctx SpecContext) {
		const crd = "virtualservices.mesh.fairlead.dev"
		// Other specs made objects of it; they go with it.
		output, err := api.Kubectl(ctx, "delete", "crd", crd).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(output))
		Expect(controllers.AwaitKinds(ctx, api.Config, 300*time.Millisecond, log)).
			To(MatchError(SatisfyAll(ContainSubstring("virtualservices"), ContainSubstring("make install"))))
		output, err = api.Kubectl(ctx, "apply", "--server-side", "-f", testenv.Root()+"/config/crd/bases/mesh.fairlead.dev_virtualservices.yaml").CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(output))
		Expect(controllers.AwaitKinds(ctx, api.Config, time.Minute, log)).To(Succeed())
	})
})
