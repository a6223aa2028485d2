package metrics

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// page is a part of the answer in the making: the agent's own families.
type page struct{ bytes.Buffer }

// family begins a family. Its help has no line break and no backslash.
func (p *page) family(name, kind, help string) {
	p.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
}

func (p *page) sample(name, labels string, value float64) {
	p.WriteString(name)
	if labels != "" {
		p.WriteString("{" + labels + "}")
	}
	p.WriteByte(' ')
	p.Write(strconv.AppendFloat(p.AvailableBuffer(), value, 'g', -1, 64))
	p.WriteByte('\n')
}

func (p *page) gauge(name, help string, value float64) {
	p.family(name, "gauge", help)
	p.sample(name, "", value)
}

func (p *page) counters(name, help string, c *counter) {
	p.family(name, "counter", help)
	c.each(func(labels string, value uint64) { p.sample(name, labels, float64(value)) })
}

// writeOwn writes everything that the agent says of itself, save what is known only
// once the other targets have been asked.
func (o *Options) writeOwn(p *page, now time.Time) {
	const prefix = ownPrefix
	state, epoch := o.State()
	p.family(prefix+"state", "gauge", "1 for the state that Envoy is in, 0 for the others.")
	for _, s := range o.States {
		value := 0.0
		if s == state {
			value = 1
		}
		p.sample(prefix+"state", labelSet("state", s), value)
	}
	p.gauge(prefix+"epoch", "Restart epoch of the Envoy that serves.", float64(epoch))
	a := o.Agent
	p.counters(prefix+"restarts_total", "Starts of Envoy other than the first one.", &a.restarts)
	p.family(prefix+"rescues_total", "counter", "Rescue tokens that were spent because Envoy ended by itself.")
	p.sample(prefix+"rescues_total", "", float64(a.rescues.Load()))
	if left := a.rescueTokens.Load(); left > 0 {
		p.gauge(prefix+"rescue_tokens", "Rescue tokens that are left.", float64(left-1))
	}
	p.counters(prefix+"certificate_changes_total", "Changes of the certificates.", &a.certificateChanges)
	o.writeExpiry(p, prefix+"certificate_expiry_seconds", now)
	p.counters(prefix+"drains_total", "Drains of Envoy that have ended.", &a.drains)
	p.gauge(prefix+"start_time_seconds", "When the agent started, in seconds since 1970.", float64(o.Started.UnixMilli())/1e3)
	p.family(prefix+"build_info", "gauge", "Always 1; the labels say what the agent was built from.")
	p.sample(prefix+"build_info", labelSet("version", o.Version, "goversion", runtime.Version()), 1)
	writeProcess(p, prefix+"process_")
}

func (o *Options) writeExpiry(p *page, name string, now time.Time) {
	certificate, root := o.Agent.certificateExpiry.Load(), o.Agent.rootExpiry.Load()
	if certificate == 0 && root == 0 {
		return
	}
	p.family(name, "gauge", "Seconds until a certificate expires; negative once it has. For the roots it is the one that expires first.")
	for _, c := range []struct {
		label string
		at    int64
	}{{"workload", certificate}, {"root", root}} {
		if c.at != 0 {
			p.sample(name, labelSet("certificate", c.label), time.Unix(c.at, 0).Sub(now).Seconds())
		}
	}
}

// writeProcess tells what the agent costs. The names of Prometheus' client libraries,
// process_..., are left to the application, whose dashboards look for them.
func writeProcess(p *page, prefix string) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err == nil {
		p.family(prefix+"cpu_seconds_total", "counter", "Processor time that the agent has used, without Envoy's.")
		p.sample(prefix+"cpu_seconds_total", "", seconds(usage.Utime)+seconds(usage.Stime))
	}
	if resident, ok := residentBytes(); ok {
		p.gauge(prefix+"resident_memory_bytes", "Resident memory of the agent, without Envoy's.", float64(resident))
	}
	p.gauge(prefix+"goroutines", "Goroutines of the agent.", float64(runtime.NumGoroutine()))
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// residentBytes reads the second number of /proc/self/statm, which are pages: proc(5).
func residentBytes() (int, bool) {
	content, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(content)
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.Atoi(string(fields[1]))
	return pages * os.Getpagesize(), err == nil
}
