package offpeak

import (
	"fmt"
	"time"
)

const (
	// minDays is how many days have to be known before hours are chosen.
	minDays = 3
	// few requests in a day are too few to tell hours by.
	few = 100
	// quiet hours have at most this part of the day's mean, and others take the place of
	// those that were chosen only if they have at most this part of their traffic.
	quiet = 0.8
)

// Choice are the hours that were chosen.
type Choice struct {
	// Start and End are times of day; an End that is not after Start is one of the next day.
	Start, End time.Duration
	// Fallback says why there is no choice, and the windows that were given are in effect;
	// empty if there is one.
	Fallback string
}

// Choose returns the quietest span of so many hours, from 1 to 24. As long as the one that was
// chosen before is nearly as quiet, it stays: hours that moved each day would have certificates
// miss them. There is no choice, but the fall-back,
//
//   - until each hour is known from three days,
//   - where a day has fewer than 100 requests, and
//   - where the quietest hours have more than 4/5 of the mean: there is no quiet then.
func (c *Curve) Choose(hours int, before *Choice, now time.Time) Choice {
	hours = min(max(hours, 1), hoursOfDay)
	start, mean := c.quietest(hours)
	average := c.mean(0, hoursOfDay)
	switch days := c.Days(now); {
	case days < minDays:
		return Choice{Fallback: fmt.Sprintf("%d of %d days are known", days, minDays)}
	case average*hoursOfDay < few:
		return Choice{Fallback: fmt.Sprintf("%.0f requests in a day are too few to learn from", average*hoursOfDay)}
	case mean > quiet*average:
		return Choice{Fallback: fmt.Sprintf("no %d hours are quiet: the quietest have %.0f %% of the mean", hours, 100*mean/average)}
	}
	if before != nil && before.Fallback == "" {
		if old := int(before.Start / time.Hour); before.hours() == hours && mean > quiet*c.mean(old, hours) {
			start = old
		}
	}
	end := (start + hours) % hoursOfDay
	return Choice{Start: time.Duration(start) * time.Hour, End: time.Duration(end) * time.Hour}
}

func (c Choice) hours() int {
	return (int((c.End-c.Start)/time.Hour)+hoursOfDay-1)%hoursOfDay + 1
}
