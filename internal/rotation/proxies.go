package rotation

import (
	"strings"
	"time"

	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/rollover"
)

const (
	// seePace is the least time between two looks at the proxies, samplePace the greatest
	// where the traffic is learnt.
	seePace    = time.Second
	samplePace = 5 * time.Minute
	// tolerance is how much later than its certificate's beginning a proxy may have asked for
	// it: certificates are valid five minutes before they are issued.
	tolerance = 5 * time.Minute
)

// Proxies are the agents that are, or were lately, on the stream.
type Proxies interface {
	Snapshot() []agents.Agent
	Changes() <-chan struct{}
	// Renew has a proxy ask for a new certificate; false: it cannot be told.
	Renew(node, reason string) bool
}

// see takes in what the proxies report, if it is time to.
func (e *Engine) see(now time.Time) bool {
	// A change of the root goes by when each was last heard, which alone is no news.
	change := e.root.state.Next != 0 && e.root.due(now)
	if !e.news && !change && (e.seeAt.IsZero() || now.Before(e.seeAt)) {
		return false
	}
	if paced := e.seen.Add(seePace); now.Before(paced) && now.After(e.seen) {
		e.seeAt = paced
		return false
	}
	e.news, e.seen, e.seeAt = false, now, time.Time{}
	if e.learns() {
		e.seeAt = now.Add(samplePace)
	}
	there := map[Key]struct{}{}
	e.mounting = map[pki.Identity][]*agents.Agent{}
	pods := e.Pods()
	all := e.Proxies.Snapshot()
	for i := range all {
		key, agent := nodeKey(all[i].Node), &all[i]
		if _, runs := pods[agent.Node]; !runs && agent.Connected.IsZero() {
			continue // its Pod is gone, and whatever it served
		}
		there[key] = struct{}{}
		h := e.holder(key)
		before := h.proxy
		h.proxy = agent
		e.weigh(before, agent, now)
		if !agent.WantsCertificates && !agent.Connected.IsZero() && agent.Report != nil {
			e.mounting[agent.Identity] = append(e.mounting[agent.Identity], agent)
		}
		if before == nil || before.Report != agent.Report || before.Connected != agent.Connected || before.Identity != agent.Identity {
			e.touch(h)
			e.proven(agent.Identity)
		}
	}
	for node, ready := range pods {
		key := nodeKey(node)
		if _, reports := there[key]; ready && !reports {
			// It has a proxy, and nobody knows what that does.
			there[key] = struct{}{}
			e.holder(key).proxy = &agents.Agent{Node: node}
		}
	}
	for key, h := range e.holders {
		if _, still := there[key]; h.proxy != nil && !still {
			h.proxy, h.asked = nil, ""
			e.touch(h)
		}
	}
	return true
}

// nodeKey is the key of a proxy, by its node id: <namespace>/<pod>.
func nodeKey(node string) Key {
	namespace, name, _ := strings.Cut(node, "/")
	return Key{Kind: Pod, Namespace: namespace, Name: name}
}

// proven has the Secret of an identity looked at again: who mounts it may have shown that it
// serves it.
func (e *Engine) proven(identity pki.Identity) {
	if s := e.served[identity]; s != nil {
		e.touch(e.holder(s.Key))
	}
}

// unproven is since when a holder's certificate was renewed and has not been shown to be
// served; zero: it has, or nobody is there to show it.
func (e *Engine) unproven(h *holder) time.Time {
	if p := h.proxy; p != nil {
		served := p.Report.GetCertificate()
		switch {
		case h.asked != "" && served.GetSerial() == h.asked:
			return h.askedAt
		case served != nil && served.GetProven() == nil && !p.Connected.IsZero():
			return served.GetNotBefore().AsTime().Add(tolerance)
		}
		return time.Time{}
	}
	if h.held == nil || h.subject == nil || !h.subject.Served {
		return time.Time{}
	}
	for _, p := range e.mounting[h.subject.Identity] {
		served := p.Report.GetCertificate()
		if served.GetSerial() != h.held.Serial || served.GetProven() == nil {
			return h.held.NotBefore.Add(tolerance)
		}
	}
	return time.Time{}
}

// dependents are all who would break if a root went too early. A Secret of an issuer of its
// own leads to no root of the mesh.
func (e *Engine) dependents() []rollover.Dependent {
	var all []rollover.Dependent
	for key, h := range e.holders {
		switch {
		case h.subject != nil && h.subject.Issuer == "" && h.held != nil:
			all = append(all, rollover.Dependent{Name: key.String(), Stored: true, Serves: h.held.Root, Trusts: h.held.Trusted})
		case h.proxy != nil:
			served := h.proxy.Report.GetCertificate()
			d := rollover.Dependent{
				Name: key.String(), Serves: served.GetRoot(), Trusts: served.GetTrusted(),
				Proven: served.GetProven() != nil, RawQuiet: h.proxy.Report.GetRawQuiet() != nil,
			}
			if h.proxy.Report != nil {
				d.Heard = h.proxy.Heard
			}
			all = append(all, d)
		}
	}
	return all
}
