package metrics

import (
	"fmt"
	"slices"
	"testing"
)

func counted(c *counter) (lines []string) {
	c.each(func(labels string, value uint64) { lines = append(lines, fmt.Sprintf("%s %d", labels, value)) })
	return lines
}

func TestCountsByLabels(t *testing.T) {
	a := NewAgent()
	a.Drained(Deadline)
	a.Drained(Deadline)
	a.Drained("of \"another\"\nkind \\")
	want := []string{
		`result="complete" 0`, `result="deadline" 2`, `result="hurried" 0`,
		`result="of \"another\"\nkind \\" 1`,
	}
	if got := counted(&a.drains); !slices.Equal(got, want) {
		t.Errorf("counted\n%q, want\n%q", got, want)
	}
}

// Who is given no Agent need not ask whether it has one.
func TestNilAgentCountsNothing(t *testing.T) {
	var a *Agent
	a.Restarted(Hot, Failed)
	a.Rescued()
	a.RescueTokens(3)
	a.CertificateChanged(Refused)
	a.Drained(Complete)
}
