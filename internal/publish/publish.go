package publish

import (
	"maps"
	"slices"
	"time"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/translate"
	"fairlead.dev/fairlead/internal/xds"
)

// sweepInterval is how often views without proxies are looked for, and how long one is
// kept at least.
const sweepInterval = time.Minute

// publish carries everything that changed since the last call.
func (p *Publisher) publish() { p.carry(false) }

// publishAll translates everything again, and has everything sent again.
func (p *Publisher) publishAll() {
	p.carry(true)
	p.options.Cache.Refresh()
	p.options.Log.Info("Sent everything again", "interval", p.options.Refresh.String())
}

func (p *Publisher) carry(everything bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	started := p.options.Clock.Now()
	changes := p.options.Store.Take()
	stirred := map[mesh.ObjectID]struct{}{}
	updates := map[string]*xds.Update{}
	update := func(key string) *xds.Update {
		if updates[key] == nil {
			updates[key] = &xds.Update{Class: key}
		}
		return updates[key]
	}

	p.sweep(stirred)
	moves := p.moveNodes(changes.Keys)

	stale := map[translate.Unit]struct{}{}
	if everything {
		for id := range p.units {
			stale[id] = struct{}{}
		}
	}
	for key := range changes.Keys {
		for id := range p.readers[key] {
			stale[id] = struct{}{}
		}
	}
	added := map[translate.Unit][]string{} // by unit, the classes that are new to it
	for _, key := range p.staleClasses(changes.Keys) {
		state := p.classes[key]
		if state.fresh {
			update(key)
			state.fresh = false
		}
		view := mesh.NewRecorder(p.options.Store)
		units := map[translate.Unit]struct{}{}
		for _, id := range translate.Units(view, state.class) {
			units[id] = struct{}{}
			if _, had := state.units[id]; had {
				continue
			}
			if p.units[id] == nil {
				p.units[id] = &unit{classes: map[string]struct{}{}}
				stale[id] = struct{}{}
			}
			p.units[id].classes[key] = struct{}{}
			added[id] = append(added[id], key)
		}
		for id := range state.units {
			if _, still := units[id]; still {
				continue
			}
			update(key).Remove = append(update(key).Remove, slices.Collect(maps.Keys(p.units[id].resources))...)
			delete(p.units[id].classes, key)
			if len(p.units[id].classes) == 0 {
				p.drop(id, stirred)
				delete(stale, id)
			}
		}
		p.listers.replace(key, state.read, view.Read)
		state.units, state.read = units, view.Read
	}

	for id := range stale {
		changed := p.translateUnit(id, stirred)
		for key := range p.units[id].classes {
			if slices.Contains(added[id], key) {
				continue
			}
			update(key).Set = append(update(key).Set, changed.set...)
			update(key).Remove = append(update(key).Remove, changed.remove...)
		}
	}
	for id, keys := range added {
		for _, key := range keys {
			update(key).Set = append(update(key).Set, slices.Collect(maps.Values(p.units[id].resources))...)
		}
	}

	publication := xds.Publication{Objects: changes.Objects}
	for object := range stirred {
		findings := p.findingsOf(object)
		p.options.Table.Findings(object, findings)
		if p.comesIntoUse(object, findings) {
			publication.Accepted = append(publication.Accepted, object)
		}
	}
	for key, u := range updates {
		if key != referenceClass {
			publication.Updates = append(publication.Updates, withoutRemovedTwins(*u))
		}
	}
	p.options.Cache.Publish(publication)
	p.tellCredentials()
	for client, key := range moves {
		p.options.Cache.Move(client, key)
	}
	p.options.Log.Debug("Published", "keys", len(changes.Keys), "objects", len(changes.Objects), "units", len(stale),
		"classes", len(publication.Updates), "took", p.options.Clock.Since(started).String())
}

// comesIntoUse notes whether findings keep an object out of use, and reports whether it is
// in use again.
func (p *Publisher) comesIntoUse(object mesh.ObjectID, findings []message.Finding) bool {
	_, wasOut := p.out[object]
	for _, finding := range findings {
		if finding.Topic == message.Acceptance {
			p.out[object] = struct{}{}
			return false
		}
	}
	delete(p.out, object)
	return wasOut
}

// staleClasses returns the classes whose list of units may have changed.
func (p *Publisher) staleClasses(changed map[mesh.Key]struct{}) []string {
	stale := map[string]struct{}{}
	for key := range changed {
		for class := range p.listers[key] {
			stale[class] = struct{}{}
		}
	}
	for key, state := range p.classes {
		if state.fresh {
			stale[key] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(stale))
}

// moveNodes finds the proxies that belong to another class now, and forgets those whose
// Pod is gone.
func (p *Publisher) moveNodes(changed map[mesh.Key]struct{}) map[xds.Client]string {
	moves := map[xds.Client]string{}
	for client, state := range p.nodes {
		if !reads(state.read, changed) {
			continue
		}
		view := mesh.NewRecorder(p.options.Store)
		workload := view.Workload(state.workload)
		if workload == nil {
			delete(p.nodes, client)
			p.options.Cache.Gone(client.Node)
			continue
		}
		if !workload.Ready {
			p.options.Cache.Gone(client.Node)
		}
		class := translate.ClassOf(view, workload).By(client.Transport)
		state.read = view.Read
		if class.Key() != state.class {
			state.class = class.Key()
			p.request(class)
			moves[client] = state.class
		}
	}
	return moves
}

func reads(read, changed map[mesh.Key]struct{}) bool {
	if len(changed) < len(read) {
		read, changed = changed, read
	}
	for key := range read {
		if _, found := changed[key]; found {
			return true
		}
	}
	return false
}

// withoutRemovedTwins drops removals of names that the update sets: they only moved from
// one unit to another.
func withoutRemovedTwins(u xds.Update) xds.Update {
	if len(u.Remove) == 0 || len(u.Set) == 0 {
		return u
	}
	set := make(map[xds.Key]struct{}, len(u.Set))
	for _, resource := range u.Set {
		set[resource.Key] = struct{}{}
	}
	u.Remove = slices.DeleteFunc(u.Remove, func(key xds.Key) bool {
		_, found := set[key]
		return found
	})
	return u
}

// sweep drops classes that no proxy needs any more.
func (p *Publisher) sweep(stirred map[mesh.ObjectID]struct{}) {
	now := p.options.Clock.Now()
	if now.Sub(p.swept) < sweepInterval {
		return
	}
	p.swept = now
	inUse := p.options.Cache.Classes()
	for key, state := range p.classes {
		_, used := slices.BinarySearch(inUse, key)
		if key == referenceClass || used || now.Sub(state.requested) < sweepInterval || !p.options.Cache.Forget(key) {
			continue
		}
		for id := range state.units {
			delete(p.units[id].classes, key)
			if len(p.units[id].classes) == 0 {
				p.drop(id, stirred)
			}
		}
		p.listers.replace(key, state.read, nil)
		delete(p.classes, key)
	}
}
