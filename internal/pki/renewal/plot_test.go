package renewal_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/internal/pki/renewal"
)

func TestThePlotHasWindowsRenewalsAndEmergencies(t *testing.T) {
	p := berlin(t)
	from := time.Date(2027, 3, 27, 0, 0, 0, 0, p.Windows[0].Zone)
	svg := string(p.Plot(from, from.AddDate(0, 0, 7), p.Windows[0].Zone, []renewal.Done{
		{At: from.Add(3 * time.Hour), Reason: renewal.ReasonWindow},
		{At: from.Add(3*time.Hour + time.Minute), Reason: renewal.ReasonWindow},
		{At: from.Add(4 * time.Hour), Reason: renewal.ReasonWindow},
		{At: from.Add(36 * time.Hour), Reason: renewal.ReasonEmergency},
	}))
	for reader := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := reader.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
	}
	for _, want := range []string{
		`fill="#cfe8cf" d="M40 42h3v9h-3z`, // 02:00 of the first night, the next of which has no 02:00
		`h-3zM43 51h3v9h-3zM43 60h3v9h-3zM46 42h3`,
		`fill="#0b2a66" d="M40 51h3v9h-3z"`,
		`fill="#5f82bb" d="M40 60h3v9h-3z"`,
		`fill="#c00000" d="M43 141h3v9h-3z"`, // 13:00, after the change of the clocks
		`>Apr 27</text>`,
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
}
