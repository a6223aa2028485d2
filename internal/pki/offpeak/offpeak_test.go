package offpeak_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"fairlead.dev/fairlead/internal/pki/offpeak"
)

var berlin = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return zone
}()

var monday = time.Date(2027, 3, 22, 0, 0, 0, 0, berlin) // the week that ends with the clocks set forward

// shop has its peak in the evening and is quietest from 04:00 to 07:00, by the clocks of Berlin.
func shop(at time.Time) float64 {
	hour := float64(at.In(berlin).Hour()) + 0.5
	return 10_000 * (1 - 0.95*math.Cos((hour-17.5)/24*2*math.Pi+math.Pi))
}

// live adds reports every seven minutes, with noise.
func live(c *offpeak.Curve, from time.Time, days float64, rate func(time.Time) float64) time.Time {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable
	const step = 7 * time.Minute
	end := from.Add(time.Duration(days * 24 * float64(time.Hour)))
	for ; from.Before(end); from = from.Add(step) {
		c.Add(from, from.Add(step), rate(from)*step.Hours()*(0.8+0.4*random.Float64()))
	}
	return end
}

func TestTheQuietHoursAreFound(t *testing.T) {
	c := offpeak.New(berlin)
	now := live(c, monday, 10, shop) // over the change of the clocks: hours are those of the wall
	got := c.Choose(3, nil, now)
	if want := (offpeak.Choice{Start: 4 * time.Hour, End: 7 * time.Hour}); got != want {
		t.Errorf("got %+v, want %+v; the curve is %.0f", got, want, c.Hours())
	}
	for at, mean := range c.Hours() {
		if want := shop(time.Date(2027, 6, 1, at, 0, 0, 0, berlin)); math.Abs(mean-want) > 0.12*want {
			t.Errorf("hour %d: %.0f requests were learnt, and there were %.0f", at, mean, want)
		}
	}
}

func TestUntilHoursAreKnownTheWindowsThatWereGivenStay(t *testing.T) {
	flat := func(time.Time) float64 { return 1000 }
	few := func(at time.Time) float64 { return shop(at) / 1e4 }
	day := func(at time.Time) float64 { // the manager is down in the night, which is not quiet for that
		if h := at.In(berlin).Hour(); h < 6 {
			return math.NaN()
		}
		return 1000
	}
	for _, test := range []struct {
		name string
		days float64
		rate func(time.Time) float64
		want string
	}{
		{"nothing", 0, shop, "0 of 3 days"},
		{"two days", 2.9, shop, "2 of 3 days"},
		{"hardly a request", 10, few, "too few"},
		{"no quiet", 10, flat, "no 3 hours are quiet: the quietest have"},
		{"nights unseen", 10, day, "0 of 3 days"},
	} {
		c := offpeak.New(berlin)
		now := live(c, monday, test.days, test.rate)
		if got := c.Choose(3, nil, now); !strings.Contains(got.Fallback, test.want) {
			t.Errorf("%s: got %+v, want the fall-back since %s", test.name, got, test.want)
		}
	}
}

func TestWhatIsNotSeenAnyMoreIsForgotten(t *testing.T) {
	c := offpeak.New(berlin)
	now := live(c, monday, 14, shop)
	if c.Days(now) < 7 || c.Days(now.AddDate(0, 0, 30)) >= 3 {
		t.Errorf("%d days are known after 14, and %d after 30 without a report", c.Days(now), c.Days(now.AddDate(0, 0, 30)))
	}
	moved := func(at time.Time) float64 { return shop(at.Add(-9 * time.Hour)) }
	first := c.Choose(3, nil, now)
	now = live(c, now, 1, moved)
	if got := c.Choose(3, &first, now); got != first {
		t.Errorf("one other day moved the hours from %+v to %+v", first, got)
	}
	now = live(c, now, 30, moved)
	if got := c.Choose(3, &first, now); got.Start != 13*time.Hour {
		t.Errorf("after a month of other traffic the hours are %+v", got)
	}
}

func TestReportsOverAnOutageSayNothing(t *testing.T) {
	c := offpeak.New(berlin)
	c.Add(monday, monday.Add(5*time.Hour), 1e6)
	c.Add(monday.Add(5*time.Hour), monday, 1e6) // the clock was set back
	c.Add(monday, monday.Add(20*time.Minute), 1e6)
	c.Add(monday.Add(30*time.Hour), monday.Add(31*time.Hour), 1)
	if got := c.Hours(); got != [24]float64{} {
		t.Errorf("got %v", got)
	}
}

func TestACurveIsKept(t *testing.T) {
	c := offpeak.New(berlin)
	now := live(c, monday, 8, shop)
	text := c.Encode()
	read, err := offpeak.Decode(text, berlin)
	if err != nil {
		t.Fatal(err)
	}
	if got := read.Encode(); got != text || len(text) > 700 {
		t.Errorf("%d bytes are read as\n%s, not\n%s", len(text), got, text)
	}
	if got, want := read.Choose(3, nil, now), c.Choose(3, nil, now); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{
		"", "{}", "null", strings.Replace(text, "Berlin", "Paris", 1), strings.Replace(text, "[[", "[[-", 1),
		strings.Replace(text, "[[", "[[1e999,1,1],[", 1), `{"zone":"Europe/Berlin","hours":[]}`,
	} {
		if _, err := offpeak.Decode(bad, berlin); err == nil {
			t.Errorf("%q was taken for a curve", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(offpeak.New(berlin).Encode())
	f.Fuzz(func(t *testing.T, text string) {
		c, err := offpeak.Decode(text, berlin)
		if err != nil {
			return
		}
		if got := c.Choose(3, nil, monday); got.Fallback == "" && got.Start >= 24*time.Hour {
			t.Error(fmt.Sprint(got))
		}
	})
}
