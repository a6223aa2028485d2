package e2e

import (
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

// load is constant load.
type load struct{ *echo.Load }

// loadInterval is the time between two requests of one caller, as a rule.
const loadInterval = 20 * time.Millisecond

// startLoad sends requests to the URL until the spec or container ends.
func startLoad(url string, from ...*workload) load { return startLoadAt(loadInterval, url, from...) }

func startLoadAt(interval time.Duration, url string, from ...*workload) load {
	clients := make([]*http.Client, len(from))
	for i, caller := range from {
		clients[i] = caller.http
	}
	l := load{echo.StartLoad(interval, url, nil, clients...)}
	DeferCleanup(l.Stop)
	return l
}

// answered is how many requests were answered so far.
func (l load) answered() int { return l.Counts().Total() }

// goesOn returns after some more requests: whatever is now has its effect on them.
func (l load) goesOn() {
	GinkgoHelper()
	Eventually(l.answered).Should(BeNumerically(">", l.answered()+50), "the load goes on")
}
