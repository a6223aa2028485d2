package publish

import (
	"slices"
	"strings"
	"time"

	healthv3 "github.com/envoyproxy/go-control-plane/envoy/service/health/v3"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/translate"
	"fairlead.dev/fairlead/internal/xds"
)

// unit is a unit of translation with what it gave and what it read.
type unit struct {
	resources map[xds.Key]*xds.Resource
	read      map[mesh.Key]struct{}
	// classes are the keys of those that it is part of.
	classes map[string]struct{}
	// found are the objects that it finds something wrong with.
	found map[mesh.ObjectID]struct{}
	// checks is whether some proxies are to check something for it.
	checks bool
}

// class is a class of proxies with the units that make up its view.
type class struct {
	class translate.Class
	units map[translate.Unit]struct{}
	read  map[mesh.Key]struct{}
	// fresh is true until the first publication.
	fresh     bool
	requested time.Time
}

// node is a proxy that asked for its class, or is expected to.
type node struct {
	workload mesh.NamespacedName
	class    string
	read     map[mesh.Key]struct{}
}

// readers finds those who read a key.
type readers[T comparable] map[mesh.Key]map[T]struct{}

// replace changes what a reader read.
func (r readers[T]) replace(reader T, before, after map[mesh.Key]struct{}) {
	for key := range before {
		if _, still := after[key]; !still {
			delete(r[key], reader)
			if len(r[key]) == 0 {
				delete(r, key)
			}
		}
	}
	for key := range after {
		if r[key] == nil {
			r[key] = map[T]struct{}{}
		}
		r[key][reader] = struct{}{}
	}
}

// difference is how the resources of a unit changed.
type difference struct {
	set    []*xds.Resource
	remove []xds.Key
}

// translateUnit translates a unit again and returns what changed by it, with the objects
// that something else is found wrong with.
func (p *Publisher) translateUnit(id translate.Unit, stirred map[mesh.ObjectID]struct{}) difference {
	state := p.units[id]
	view := mesh.NewRecorder(p.options.Store)
	result := translate.Translate(view, id)
	p.readers.replace(id, state.read, view.Read)
	p.noteCredentials(state.read, view.Read)
	state.read = view.Read
	p.noteFindings(id, result.Findings, stirred)
	p.noteChecks(id, result.Checks)

	var changed difference
	resources := make(map[xds.Key]*xds.Resource, len(result.Resources))
	for _, r := range result.Resources {
		resource, err := xds.NewResource(xds.Key{TypeURL: r.TypeURL, Name: r.Name}, r.Message, r.Requires, r.Owners)
		if err != nil {
			// Messages are built from Go values: only text that is not UTF-8 gets here.
			p.options.Log.Error("Left out a resource that cannot be marshalled", "error", err)
			continue
		}
		before := state.resources[resource.Key]
		if before != nil && before.Same(resource) {
			resource = before
		} else {
			changed.set = append(changed.set, resource)
		}
		resources[resource.Key] = resource
	}
	for key := range state.resources {
		if resources[key] == nil {
			changed.remove = append(changed.remove, key)
		}
	}
	state.resources = resources
	return changed
}

// noteFindings replaces what a unit found.
func (p *Publisher) noteFindings(id translate.Unit, found []message.Finding, stirred map[mesh.ObjectID]struct{}) {
	byObject := map[mesh.ObjectID][]message.Finding{}
	objects := map[mesh.ObjectID]struct{}{}
	for _, finding := range found {
		byObject[finding.Object] = append(byObject[finding.Object], finding)
		objects[finding.Object] = struct{}{}
	}
	for object := range p.units[id].found {
		if _, still := objects[object]; still {
			continue
		}
		delete(p.findings[object], id)
		if len(p.findings[object]) == 0 {
			delete(p.findings, object)
		}
		stirred[object] = struct{}{}
	}
	p.units[id].found = objects
	for object, list := range byObject {
		if p.findings[object] == nil {
			p.findings[object] = map[translate.Unit][]message.Finding{}
		}
		if !slices.Equal(p.findings[object][id], list) {
			p.findings[object][id] = list
			stirred[object] = struct{}{}
		}
	}
}

// findingsOf returns everything that is wrong with an object.
func (p *Publisher) findingsOf(object mesh.ObjectID) []message.Finding {
	var all []message.Finding
	for _, list := range p.findings[object] {
		all = append(all, list...)
	}
	return message.Sort(all)
}

// drop forgets a unit that no class needs.
func (p *Publisher) drop(id translate.Unit, stirred map[mesh.ObjectID]struct{}) {
	p.readers.replace(id, p.units[id].read, nil)
	p.noteCredentials(p.units[id].read, nil)
	p.noteFindings(id, nil, stirred)
	p.noteChecks(id, nil)
	delete(p.units, id)
}

// noteChecks replaces what is checked for a unit.
func (p *Publisher) noteChecks(id translate.Unit, checks []*healthv3.ClusterHealthCheck) {
	if state := p.units[id]; p.options.Checks != nil && (state.checks || len(checks) > 0) {
		state.checks = len(checks) > 0
		p.options.Checks(id, checks)
	}
}

// noteCredentials notes whether what is read of Secrets changes.
func (p *Publisher) noteCredentials(before, after map[mesh.Key]struct{}) {
	for _, pair := range [][2]map[mesh.Key]struct{}{{before, after}, {after, before}} {
		for key := range pair[0] {
			if _, both := pair[1][key]; key.Kind == mesh.KindCredential && !both {
				p.credentials = true
			}
		}
	}
}

// tellCredentials tells which Secrets are read.
func (p *Publisher) tellCredentials() {
	if !p.credentials || p.options.Credentials == nil {
		return
	}
	p.credentials = false
	var names []mesh.NamespacedName
	for key := range p.readers {
		if key.Kind == mesh.KindCredential {
			namespace, name, _ := strings.Cut(key.Name, "/")
			names = append(names, mesh.NamespacedName{Namespace: namespace, Name: name})
		}
	}
	slices.SortFunc(names, mesh.NamespacedName.Compare)
	p.options.Credentials(names)
}
