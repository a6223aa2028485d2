// Package offpeak learns when a namespace has least traffic, for renewals whose windows are not
// given but learnt (renewal.mode: Auto).
//
// Who calls it adds what agents report of requests. It keeps, for each hour of a day as the
// wall clock of one zone shows it, the mean of the days, in which a day counts half as
// much as one that is a week younger. It never reads a clock and does no I/O; what it keeps
// fits into an annotation, so that it outlives a restart of the manager.
//
// Hours that are not fully known are not taken for quiet: an hour counts if reports cover half
// of it, and reports over more than an hour, as after an outage, say nothing of hours.
// As long as the hours cannot be told, the windows that were given are the fall-back: see Choose.
package offpeak

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

const (
	hoursOfDay = 24
	// halfLife is in days.
	halfLife = 7
)

// Curve is the requests of a namespace by the hour of the day. It is not safe for concurrent use.
type Curve struct {
	zone  *time.Location
	hours [hoursOfDay]hour
	// The hour under way: which one since 1970, by the wall clock, how much of it reports
	// cover, and the requests in it.
	key      int64
	covered  time.Duration
	requests float64
}

// hour is what is known of one hour of the day.
type hour struct {
	mean float64 // requests in an hour
	// weight is the number of days that the mean is of, older ones counted less, as it was on
	// the day, counted from 1970, that was added last.
	weight float64
	day    int64
}

// New returns a curve of which nothing is known. Hours are those of the zone.
func New(zone *time.Location) *Curve { return &Curve{zone: zone} }

// Add notes how many requests all proxies of the namespace together had from one time to
// another. Times follow on one another; what a clock that was set back repeats counts as
// another day's.
func (c *Curve) Add(from, to time.Time, requests float64) {
	whole := to.Sub(from)
	if whole <= 0 || whole > time.Hour || !(requests >= 0) || math.IsInf(requests, 0) {
		return
	}
	for from.Before(to) {
		local := from.In(c.zone)
		_, offset := local.Zone()
		wall := from.Unix() + int64(offset)
		if key := wall / 3600; key != c.key {
			c.fold()
			c.key, c.covered, c.requests = key, 0, 0
		}
		past := time.Duration(local.Minute())*time.Minute + time.Duration(local.Second())*time.Second + time.Duration(local.Nanosecond())
		part := min(time.Hour-past, to.Sub(from))
		c.covered += part
		c.requests += requests * float64(part) / float64(whole)
		from = from.Add(part)
	}
}

// fold adds the hour that is over to the mean of its hour of the day.
func (c *Curve) fold() {
	if c.covered < time.Hour/2 {
		return
	}
	h, day := &c.hours[c.key%hoursOfDay], c.key/hoursOfDay
	h.weight = h.at(day) + 1
	h.mean += (c.requests/c.covered.Hours() - h.mean) / h.weight
	h.day = day
}

// at is the weight as it is on a day.
func (h *hour) at(day int64) float64 { return h.weight * aged(max(day-h.day, 0)) }

func aged(days int64) float64 { return math.Exp2(-float64(days) / halfLife) }

// Hours returns the mean of the requests in each hour of the day.
func (c *Curve) Hours() (means [hoursOfDay]float64) {
	for i, h := range c.hours {
		means[i] = h.mean
	}
	return means
}

// Days returns how many days are known of every hour: as if it had been seen on each of the
// last so many days, and never before.
func (c *Curve) Days(now time.Time) int {
	_, offset := now.In(c.zone).Zone()
	today, least := (now.Unix()+int64(offset))/3600/hoursOfDay, math.Inf(1)
	for i := range c.hours {
		least = min(least, c.hours[i].at(today))
	}
	days := 0
	for sum := aged(1); sum <= least+1e-9 && days < 8*halfLife; sum += aged(int64(days) + 1) {
		days++
	}
	return days
}

// quietest returns where the quietest span of so many hours begins, and the mean of the
// requests in an hour of it. The span may go over midnight.
func (c *Curve) quietest(hours int) (start int, mean float64) {
	mean = math.Inf(1)
	for from := range hoursOfDay {
		if m := c.mean(from, hours); m < mean {
			start, mean = from, m
		}
	}
	return start, mean
}

func (c *Curve) mean(from, hours int) (sum float64) {
	for i := range hours {
		sum += c.hours[(from+i)%hoursOfDay].mean
	}
	return sum / float64(hours)
}

// stored is a curve as it is kept: its zone and, for each hour, mean, weight and day.
type stored struct {
	Zone  string           `json:"zone"`
	Hours [][3]json.Number `json:"hours"`
}

// Encode returns the curve as a line of text of about 500 bytes. The hour under way is not in it.
func (c *Curve) Encode() string {
	s := stored{Zone: c.zone.String()}
	short := func(f float64) json.Number { return json.Number(strconv.FormatFloat(f, 'g', 4, 64)) }
	for _, h := range c.hours {
		s.Hours = append(s.Hours, [3]json.Number{short(h.mean), short(h.weight), json.Number(strconv.FormatInt(h.day, 10))})
	}
	text, _ := json.Marshal(s) // strings and numbers always can be
	return string(text)
}

// Decode reads what Encode wrote. A curve of another zone is refused: its hours are others.
func Decode(text string, zone *time.Location) (*Curve, error) {
	var s stored
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, fmt.Errorf("the curve of requests is damaged, drop it: %w", err)
	}
	if s.Zone != zone.String() || len(s.Hours) != hoursOfDay {
		return nil, fmt.Errorf("the curve of requests has %d hours of the zone %q, where 24 of %q are needed; drop it", len(s.Hours), s.Zone, zone)
	}
	c := New(zone)
	for i, h := range s.Hours {
		mean, e1 := h[0].Float64()
		weight, e2 := h[1].Float64()
		day, e3 := h[2].Int64()
		// No more than 11: each day adds 1 and leaves 0.906 of what there was.
		if e1 != nil || e2 != nil || e3 != nil || !(mean >= 0 && mean < 1e15) || !(weight >= 0 && weight < 11) || day < 0 {
			return nil, fmt.Errorf("the curve of requests is damaged, drop it: hour %d is %v", i, h)
		}
		c.hours[i] = hour{mean, weight, day}
	}
	return c, nil
}
