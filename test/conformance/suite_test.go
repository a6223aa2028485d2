package conformance

import (
	"fmt"
	"os"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

// shared is the mesh of all cases.
var shared *stage

func TestMain(m *testing.M) {
	SetDefaultEventuallyTimeout(echo.Patience)
	SetDefaultEventuallyPollingInterval(2 * time.Millisecond)
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if shared, err = startStage(everyProxy()); err != nil {
		return 1, err
	}
	code = m.Run()
	err = shared.stop()
	if code == 0 && err == nil {
		err = os.Remove(shared.log.Name())
	}
	return code, err
}
