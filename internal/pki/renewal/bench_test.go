package renewal_test

import (
	"fmt"
	"testing"
	"time"

	"fairlead.dev/fairlead/internal/pki/renewal"
)

// BenchmarkPlan plans for 10,000 holders of all ages, in the middle of a window.
func BenchmarkPlan(b *testing.B) {
	p := berlin(b)
	var holders []renewal.Holder
	for i := range 10_000 {
		issued := night.Add(-time.Duration(i) * 45 * 24 * time.Hour / 10_000)
		holders = append(holders, renewal.Holder{Certificate: renewal.Certificate{
			ID: fmt.Sprintf("Secret prod/fairlead.app-%d", i), NotBefore: issued, NotAfter: issued.AddDate(0, 0, 90),
		}})
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Plan(night.Add(90*time.Minute), holders, "", nil)
	}
}
