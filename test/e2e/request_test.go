package e2e

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/test/echo"
)

// get sends a GET request by the workload's proxy. Headers are given as name, value.
func (w *workload) get(url string, headers ...string) echo.Reply {
	GinkgoHelper()
	return w.send(http.MethodGet, url, headers...)
}

func (w *workload) send(method, url string, headers ...string) echo.Reply {
	GinkgoHelper()
	r, err := echo.Send(w.http, method, url, "", headers...)
	Expect(err).NotTo(HaveOccurred(), "the proxy of %s answers every request", w.name)
	return r
}

// many sends n requests, several at a time.
func (w *workload) many(n int, url string, headers ...string) echo.Tally {
	return echo.Many(w.http, n, url, headers...)
}
