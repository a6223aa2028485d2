package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// LabelText writes labels as "k=v,k=v", sorted by key.
func LabelText(labels map[string]string) string {
	var text strings.Builder
	for i, key := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, "%s=%s", key, labels[key])
	}
	return text.String()
}

// ParseLabelText reads what LabelText wrote. Kubernetes allows neither "=" nor ","
// in a label.
func ParseLabelText(text string) map[string]string {
	labels := map[string]string{}
	if text == "" {
		return labels
	}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(pair, "=")
		labels[key] = value
	}
	return labels
}

// Selects reports whether an endpoint or workload with the labels given carries all
// labels of the selector.
func Selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if got, found := labels[key]; !found || got != value {
			return false
		}
	}
	return true
}

// selection is a set of labels by which a destination of an object selects endpoints of a host.
type selection struct {
	host   string
	labels map[string]string
	object ObjectID
}

// labelIndex knows which objects select which labels of which hosts, by the tables in which
// they do.
type labelIndex struct {
	byTable map[ObjectID][]selection
	byHost  map[string]map[string]*selectors
	// subsets is what readers get; its values are replaced, never changed.
	subsets map[string][]LabelSubset
}

type selectors struct {
	labels map[string]string
	// objects have the tables by which they select.
	objects map[ObjectID]map[ObjectID]struct{}
}

func newLabelIndex() labelIndex {
	return labelIndex{
		byTable: map[ObjectID][]selection{},
		byHost:  map[string]map[string]*selectors{},
		subsets: map[string][]LabelSubset{},
	}
}

// set replaces what a table selects, and returns the hosts for which that changed
// anything.
func (x *labelIndex) set(table ObjectID, selections []selection) map[string]struct{} {
	touched := map[string]struct{}{}
	for _, old := range x.byTable[table] {
		touched[old.host] = struct{}{}
		text := LabelText(old.labels)
		entry := x.byHost[old.host][text]
		if entry == nil { // The table named the same labels twice.
			continue
		}
		if delete(entry.objects[old.object], table); len(entry.objects[old.object]) == 0 {
			delete(entry.objects, old.object)
		}
		if len(entry.objects) == 0 {
			delete(x.byHost[old.host], text)
		}
	}
	for _, next := range selections {
		touched[next.host] = struct{}{}
		if x.byHost[next.host] == nil {
			x.byHost[next.host] = map[string]*selectors{}
		}
		text := LabelText(next.labels)
		entry := x.byHost[next.host][text]
		if entry == nil {
			entry = &selectors{labels: next.labels, objects: map[ObjectID]map[ObjectID]struct{}{}}
			x.byHost[next.host][text] = entry
		}
		if entry.objects[next.object] == nil {
			entry.objects[next.object] = map[ObjectID]struct{}{}
		}
		entry.objects[next.object][table] = struct{}{}
	}
	if len(selections) == 0 {
		delete(x.byTable, table)
	} else {
		x.byTable[table] = selections
	}
	for host := range touched {
		if !x.refresh(host) {
			delete(touched, host)
		}
	}
	return touched
}

// refresh rebuilds what readers get for a host, and reports whether it differs.
func (x *labelIndex) refresh(host string) bool {
	var subsets []LabelSubset
	for _, text := range slices.Sorted(maps.Keys(x.byHost[host])) {
		entry := x.byHost[host][text]
		subsets = append(subsets, LabelSubset{Labels: entry.labels, Selectors: slices.SortedFunc(maps.Keys(entry.objects), ObjectID.Compare)})
	}
	if len(subsets) == 0 {
		delete(x.byHost, host)
	}
	same := slices.EqualFunc(subsets, x.subsets[host], func(a, b LabelSubset) bool {
		return maps.Equal(a.Labels, b.Labels) && slices.Equal(a.Selectors, b.Selectors)
	})
	if same {
		return false
	}
	if len(subsets) == 0 {
		delete(x.subsets, host)
	} else {
		x.subsets[host] = subsets
	}
	return true
}
