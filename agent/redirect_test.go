package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestRedirectCommand(t *testing.T) {
	for _, test := range []struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		{[]string{"redirect", "--dry-run"}, 0, "meta l4proto tcp counter redirect to :15006", ""},
		{[]string{"redirect", "--dry-run", "--remove"}, 0, "delete table inet fairlead-outbound", ""},
		{[]string{"redirect", "--help"}, 0, "[$FAIRLEAD_EXCLUDE_OUTBOUND_CIDRS]", ""},
		{[]string{"redirect", "--exclude-uids=root", "--inbound-port=0"}, exitUsage, "", "fairlead-agent redirect: --exclude-uids \"root\" is no number"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), test.args, environment{}.lookup, &stdout, &stderr); status != test.status {
			t.Errorf("%v: exit status %d, want %d", test.args, status, test.status)
		}
		if !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
			t.Errorf("%v prints\n%s\nand complains\n%s", test.args, stdout.String(), stderr.String())
		}
	}
}
