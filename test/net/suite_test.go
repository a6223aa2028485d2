//go:build netns

// Package net tries redirect rules on the real kernel: network namespaces stand for a
// Pod and for what is outside of it, and the agent, as it is released, writes its rules
// in that of the Pod.
//
// It needs root. Namespaces have no name: they end with the test's process, however that
// ends. `make test-net` runs it.
package net

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/testenv"
)

// patience is for a machine that is busy with other things.
const patience = 30 * time.Second

func TestNet(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Redirect rules in network namespaces")
}

// agent is the path of the program under test.
var agent string

var _ = BeforeSuite(func() {
	Expect(os.Geteuid()).To(Equal(0), "network namespaces need root: run `make test-net` as root")
	folder, err := os.MkdirTemp("/tmp", "fl-net-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(os.RemoveAll, folder)
	// Users other than root start it too.
	Expect(os.Chmod(folder, 0o755)).To(Succeed())
	agent = filepath.Join(folder, "fairlead-agent")
	Expect(testenv.Build(agent, "./agent")).To(Succeed())
})
