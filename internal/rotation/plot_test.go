package rotation

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/internal/pki/renewal"
)

// The plot's measures, in pixels: a day is a column, an hour a row.
const (
	dayWidth, hourHeight = 3, 9
	leftEdge, topEdge    = 40, 24
)

// fills are the plot's colors: of windows, of hours with few up to many renewals, and of hours
// with emergencies.
var fills = [...]string{"#cfe8cf", "#9db4d8", "#5f82bb", "#2b569c", "#0b2a66", "#c00000"}

// plot draws renewals against the policy's windows, as SVG: for each day from one date up to
// another the hours of the day, downwards, by the clock of the zone; openings light green, an
// hour with renewals blue, the darker the more there were, and red if one was an emergency.
func plot(p renewal.Policy, from, to time.Time, zone *time.Location, renewals []order) []byte {
	date := func(t time.Time) int64 {
		_, offset := t.In(zone).Zone()
		return (t.Unix() + int64(offset)) / (24 * 3600)
	}
	first, days := date(from), date(to)-date(from)
	var paths [len(fills)]bytes.Buffer
	box := func(fill int, at time.Time, hour, height float64) {
		fmt.Fprintf(&paths[fill], "M%d %.4gh%dv%.4gh-%dz", leftEdge+(date(at)-first)*dayWidth, topEdge+hour*hourHeight, dayWidth, height*hourHeight, dayWidth)
	}
	for opening, closing, _ := p.Open(from); opening.Before(to); opening, closing, _ = p.Open(closing) {
		// In pieces that end with an hour, so that none goes over midnight or a change of the clock.
		for at := opening.Unix(); at < closing.Unix(); {
			local := time.Unix(at, 0).In(zone)
			end := min(closing.Unix(), at+int64(60-local.Minute())*60-int64(local.Second()))
			box(0, local, float64(local.Hour())+float64(local.Minute())/60, float64(end-at)/3600)
			at = end
		}
	}
	counts, emergencies, most := map[int64]int{}, map[int64]bool{}, 1
	hourOf := func(at time.Time) int64 { return date(at)*24 + int64(at.In(zone).Hour()) }
	for _, r := range renewals {
		hour := hourOf(r.at)
		counts[hour]++
		most = max(most, counts[hour])
		emergencies[hour] = emergencies[hour] || r.reason == renewal.ReasonEmergency
	}
	for _, r := range renewals {
		hour := hourOf(r.at)
		fill := 1 + (4*counts[hour]-1)/most
		if emergencies[hour] {
			fill = len(fills) - 1
		}
		if counts[hour] > 0 {
			box(fill, r.at, float64(hour-date(r.at)*24), 1)
		}
		counts[hour] = 0 // drawn
	}

	var svg bytes.Buffer
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="10">`+"\n",
		leftEdge+days*dayWidth+10, topEdge+24*hourHeight+10)
	fmt.Fprintf(&svg, `<rect x="%d" y="%d" width="%d" height="%d" fill="#f4f4f4"/>`+"\n", leftEdge, topEdge, days*dayWidth, 24*hourHeight)
	for i, fill := range fills {
		if paths[i].Len() > 0 {
			fmt.Fprintf(&svg, `<path fill="%s" d="%s"/>`+"\n", fill, &paths[i])
		}
	}
	for column := range days {
		if at := time.Unix((first+column)*24*3600, 0).UTC(); at.Day() == 1 {
			fmt.Fprintf(&svg, `<text x="%d" y="%d">%s</text>`+"\n", leftEdge+column*dayWidth, topEdge-8, at.Format("Jan 06"))
		}
	}
	for hour := 0; hour <= 24; hour += 6 {
		fmt.Fprintf(&svg, `<text x="4" y="%d">%02d:00</text>`+"\n", topEdge+hour*hourHeight+4, hour)
	}
	svg.WriteString("</svg>\n")
	return svg.Bytes()
}

func TestThePlotHasWindowsRenewalsAndEmergencies(t *testing.T) {
	p := nights(t)
	from := time.Date(2027, 3, 27, 0, 0, 0, 0, p.Windows[0].Zone)
	svg := string(plot(p, from, from.AddDate(0, 0, 7), p.Windows[0].Zone, []order{
		{at: from.Add(3 * time.Hour), reason: renewal.ReasonWindow},
		{at: from.Add(3*time.Hour + time.Minute), reason: renewal.ReasonWindow},
		{at: from.Add(4 * time.Hour), reason: renewal.ReasonWindow},
		{at: from.Add(36 * time.Hour), reason: renewal.ReasonEmergency},
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
