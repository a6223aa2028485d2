package rotation

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"fairlead.dev/fairlead/internal/pki/renewal"
)

func TestRenewalsMoveToTheHoursThatWereLearnt(t *testing.T) {
	g := NewWithT(t)
	w := newWorld(t, nights(t), 5)
	w.terms.Auto = true
	w.run(start.Add(time.Minute), time.Second)
	w.join("account-0001", "streams", false)
	p := w.proxies["shop/streams"]
	berlin := w.terms.Policy.Windows[0].Zone
	w.each = func() {
		// Quiet around noon: nobody would have guessed.
		report := w.copyReport(p)
		if hour := w.clock.Now().In(berlin).Hour(); hour < 11 || hour >= 14 {
			report.Requests += 1000
		}
	}
	w.run(start.Add(2*day), 5*time.Minute)
	report := w.engine.Report(meshRoot)
	g.Expect(report.Learned.Fallback).To(Equal("1 of 3 days are known"))
	w.run(start.Add(60*day), 5*time.Minute)

	report = w.engine.Report(meshRoot)
	g.Expect(report.Learned.Hours).To(Equal("11:00-14:00 Europe/Berlin"))
	renewed := 0
	for _, o := range w.orders {
		if o.reason == renewal.ReasonWindow {
			renewed++
			g.Expect(o.at.In(berlin).Hour()).To(BeElementOf(11, 12, 13))
		}
	}
	g.Expect(renewed).To(BeNumerically(">=", 5))
}

func TestRenewalsPauseWhileProxiesRefuseCertificates(t *testing.T) {
	g := NewWithT(t)
	w := newWorld(t, nights(t), 50)
	w.run(start.Add(time.Minute), time.Second)
	w.join("account-0001", "streams", false)
	p := w.proxies["shop/streams"]
	// In the first night of renewals, one in Berlin begins at 01:00 or 00:00 in UTC.
	opening, _, _ := w.terms.Policy.Open(start.Add(45 * day))
	w.run(opening.Add(time.Hour), time.Minute)
	made := len(w.orders)
	g.Expect(made).To(BeNumerically(">", 50), "renewals are under way")
	w.each = func() { w.copyReport(p).CertificatesRefused += 5 }
	w.run(opening.Add(2*time.Hour), time.Minute)
	g.Expect(w.engine.Report(meshRoot).Paused).To(ContainSubstring("certificates were refused"))
	g.Expect(reasons(w.events)).To(ContainElement("Paused"))
	g.Expect(len(w.orders)-made).To(BeNumerically("<", 10), "nothing goes on")
}
