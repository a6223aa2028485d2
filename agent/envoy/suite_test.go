package envoy_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/testenv"
)

func TestEnvoy(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "A supervised Envoy")
}

// binary is the real Envoy.
var binary string

var _ = BeforeSuite(func() {
	var err error
	binary, err = testenv.Envoy()
	Expect(err).NotTo(HaveOccurred())
})
