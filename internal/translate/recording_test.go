package translate_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/translate"
)

// The publisher translates a unit again only if a key that the unit read has changed. So
// whatever happens to a mesh, translating a unit whose keys did not change must give the
// same as before, and the same mesh must give the same bytes however it came about.
func TestUnitsReadWhatTheyDependOn(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			m := &randomMesh{random: rand.New(rand.NewPCG(seed, 0)), store: mesh.NewStore()}
			m.forget()
			known := recordings{}
			for step := range 150 {
				what := m.change()
				changed := m.store.Take().Keys
				known.follow(t, m.store, changed, fmt.Sprintf("step %d, %s", step, what))
				if t.Failed() {
					return
				}
			}
			again := m.rebuilt()
			for id, recording := range known {
				if got := id.read(again); got != recording.text {
					t.Fatalf("%v differs in a mesh that was built in another order:\n%s", id, cmp.Diff(recording.text, got))
				}
			}
		})
	}
}

// reading is one of the three things that the publisher reads the mesh for: the class of
// a workload, the units of a class, a unit.
type reading struct {
	Workload mesh.NamespacedName
	Class    translate.Class
	Unit     translate.Unit
}

func (r reading) read(view mesh.View) string {
	switch {
	case r.Workload != mesh.NamespacedName{}:
		if workload := view.Workload(r.Workload); workload != nil {
			return translate.ClassOf(view, workload).Key()
		}
		return "none"
	case r.Class != translate.Class{}:
		return fmt.Sprintf("%+v", translate.Units(view, r.Class))
	}
	result := translate.Translate(view, r.Unit)
	text := fmt.Sprintf("%+v\n", result.Findings)
	for _, resource := range result.Resources {
		bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(resource.Message)
		text += fmt.Sprintf("%s %q requires %q owned by %v: %q %v\n", resource.TypeURL, resource.Name, resource.Requires, resource.Owners, bytes, err)
	}
	return text
}

type recording struct {
	text string
	keys map[mesh.Key]struct{}
}

type recordings map[reading]recording

// follow reads everything again, and tells what differs though nothing that it had read
// was said to have changed.
func (k recordings) follow(t *testing.T, store *mesh.Store, changed map[mesh.Key]struct{}, what string) {
	t.Helper()
	now := recordings{}
	record := func(id reading) {
		if _, done := now[id]; done {
			return
		}
		view := mesh.NewRecorder(store)
		now[id] = recording{id.read(view), view.Read}
		before, known := k[id]
		if !known || slices.ContainsFunc(slices.Collect(maps.Keys(changed)), func(key mesh.Key) bool {
			_, read := before.keys[key]
			return read
		}) {
			return
		}
		if diff := cmp.Diff(before.text, now[id].text); diff != "" {
			t.Errorf("%s: %+v changed, though it read none of %v:\n%s", what, id, changed, diff)
		}
	}
	for _, workload := range store.Workloads() {
		record(reading{Workload: workload.Key()})
		class := translate.ClassOf(store, workload)
		record(reading{Class: class})
		units := translate.Units(store, class)
		if !slices.IsSortedFunc(units, translate.Unit.Compare) {
			t.Errorf("%s: units are not sorted: %+v", what, units)
		}
		var resources []translate.Resource
		for _, unit := range units {
			record(reading{Unit: unit})
			resources = append(resources, translate.Translate(store, unit).Resources...)
		}
		checkWhole(t, resources)
	}
	clear(k)
	maps.Copy(k, now)
}
