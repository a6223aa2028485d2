// Package chaos does to a workload's agent and its Envoy what happens to them in a
// cluster, while constant load goes through them, and counts what is lost.
//
// The agent is the program as it is released, Envoy the real one; the control plane runs
// in the test and serves what package translate makes of a small mesh. Every event says
// beside it what may be lost, and is judged by that. No client tries again by itself.
//
// `go test` runs the most important events a few times. With FAIRLEAD_CHAOS=full, which
// `make test-chaos` sets, all of them are run as often as is claimed, and the table in
// docs/reliability.md is written.
package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fairlead.dev/fairlead/test/testenv"
)

// patience is for a machine that is busy with other things.
const patience = 60 * time.Second

// full is whether everything is run, and the page written.
var full = os.Getenv("FAIRLEAD_CHAOS") == "full"

// agentBinary is the agent as it is released.
var agentBinary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "fairlead-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(folder) }()
	agentBinary = filepath.Join(folder, "fairlead-agent")
	if err := testenv.Build(agentBinary, "./agent"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "something was left running:", err)
			return 1
		}
	}
	return code
}
