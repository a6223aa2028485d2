package conformance

import (
	"testing"

	. "github.com/onsi/gomega"
)

func TestTCPServiceWhoseServerSpeaksFirst(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1")
	for _, caller := range s.callers() {
		greeting, answer := caller.converse("reviews", linesPort, "hello")
		s.Expect(greeting).To(Equal("this is v1\n"))
		s.Expect(answer).To(Equal("v1: hello\n"))
	}
}

func TestTLSOfTheApplicationIsPassedThrough(t *testing.T) {
	s := newScene(t)
	s.serve("reviews", "v1")
	for _, caller := range s.callers() {
		r := caller.getTLS("reviews", 443, "secure.example")
		s.Expect(r.Seen).To(And(HaveField("ServerName", "secure.example"), HaveField("Version", "v1")))
	}
}
