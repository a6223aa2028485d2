package rotation

import (
	"time"

	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/pki/renewal"
)

type traffic struct{}

// Learned is what is known of the quiet hours of a namespace.
type Learned struct{}

// learns reports whether somebody wants windows that are learnt.
func (e *Engine) learns() bool { return false }

// weigh takes in what a proxy has counted since its last report.
func (e *Engine) weigh(before, after *agents.Agent, now time.Time) {
	if before == nil || before.Report == nil || after.Report == nil || before.Report == after.Report {
		return
	}
	e.health.Observe(now,
		since(before.Report.GetHandshakesFailed(), after.Report.GetHandshakesFailed()),
		since(before.Report.GetCertificatesRefused(), after.Report.GetCertificatesRefused()))
}

// since is what a counter has counted; one that went back was begun anew.
func since(before, after uint64) uint64 {
	if after < before {
		return after
	}
	return after - before
}

// policy is that of a group, with the windows that were learnt.
func (e *Engine) policy(g *group, now time.Time) renewal.Policy { return g.terms.Policy }
