package manager

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/internal/agentapi"
)

// countTimeout bounds a question to Envoy: a hot restart may be under way, and nobody asks
// then.
const countTimeout = 2 * time.Second

// sample asks Envoy what it counts. If it does not say, what it said last is reported.
func (c *Client) sample(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	// Before the question: what it counts came after this.
	now, certificates := c.options.Clock.Now(), c.options.Certificates.Status()
	counts, err := c.options.Count(ctx)
	if err != nil {
		c.options.Log.Debug("Envoy does not say what it counts", "error", err)
		return
	}
	c.tally.add(now, c.options.Proxy().PID, counts, certificates)
}

// report sends what the proxy runs if that is something else than was sent last.
func (s *session) report() error {
	proxy, certificates := s.options.Proxy(), s.options.Certificates.Status()
	r := &agentapi.Report{
		Epoch: uint32(proxy.Epoch), State: string(proxy.State), Reason: proxy.Reason,
		Certificate:         describe(certificates),
		Complaint:           cmp.Or(s.unissued, certificates.Complaint, certificates.ProofComplaint),
		Requests:            s.tally.total.Requests,
		HandshakesFailed:    s.tally.total.HandshakesFailed,
		CertificatesRefused: s.tally.total.CertificatesRefused,
		RawConnections:      s.tally.raw,
	}
	if quiet := s.tally.quietWith(certificates); !quiet.IsZero() {
		r.RawQuiet = timestamppb.New(quiet)
	}
	if s.reported != nil && proto.Equal(r, s.reported) {
		return nil
	}
	s.reported = proto.CloneOf(r)
	r.At = timestamppb.New(s.options.Clock.Now())
	return s.stream.send(&agentapi.FromAgent{Message: &agentapi.FromAgent_Report{Report: r}})
}

func describe(status certs.Status) *agentapi.Certificate {
	own := status.Certificate
	if own == nil {
		return nil
	}
	described := &agentapi.Certificate{
		Generation: uint64(own.Generation), Serial: own.Serial,
		NotBefore: timestamppb.New(own.NotBefore), NotAfter: timestamppb.New(own.NotAfter),
		Uris: own.URIs, Root: own.Root, Trusted: own.Trusted,
	}
	if !status.Proven.IsZero() {
		described.Proven = timestamppb.New(status.Proven)
	}
	return described
}

// tally adds up what successive Envoys count.
type tally struct {
	// last is what the Envoy with the process id said.
	last envoy.Counts
	pid  int
	// total is since the agent started.
	total envoy.Counts

	// raw are open connections of TCP at the time given.
	raw uint64
	at  time.Time
	// quiet is since when there were none or, while there are some, when there were none
	// last, all of it while the generation was proven; zero if that never was so.
	quiet      time.Time
	generation int
}

// add takes what an Envoy says at a time.
func (t *tally) add(now time.Time, pid int, counts envoy.Counts, certificates certs.Status) {
	if pid != t.pid {
		t.pid, t.last = pid, envoy.Counts{}
	}
	for _, c := range []struct{ total, last, now *uint64 }{
		{&t.total.Requests, &t.last.Requests, &counts.Requests},
		{&t.total.HandshakesFailed, &t.last.HandshakesFailed, &counts.HandshakesFailed},
		{&t.total.CertificatesRefused, &t.last.CertificatesRefused, &counts.CertificatesRefused},
		{&t.total.RawTaken, &t.last.RawTaken, &counts.RawTaken},
	} {
		if *c.now < *c.last {
			// Another process has begun to count, unseen.
			*c.last = 0
		}
		*c.total += *c.now - *c.last
	}
	t.last = counts
	// A connection of HTTP is no other than one of TCP until its handshake is over.
	raw := min(counts.NotHTTP, t.total.RawTaken)

	if t.quietWith(certificates).IsZero() {
		t.quiet = time.Time{}
	}
	t.generation = 0
	if certificates.Certificate != nil && !certificates.Proven.IsZero() {
		t.generation = certificates.Certificate.Generation
	}
	switch {
	case raw == 0 && t.generation != 0 && (t.raw > 0 || t.quiet.IsZero()):
		t.quiet = now
	case raw > 0 && t.raw == 0 && !t.quiet.IsZero():
		t.quiet = t.at
	}
	t.raw, t.at = raw, now
}

// quietWith is quiet if that is about the certificate that is proven now.
func (t *tally) quietWith(certificates certs.Status) time.Time {
	if certificates.Certificate == nil || certificates.Proven.IsZero() || certificates.Certificate.Generation != t.generation {
		return time.Time{}
	}
	return t.quiet
}
