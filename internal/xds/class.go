package xds

import (
	"slices"
	"sync"
)

// entry is a resource in a view, with the publications that matter for acknowledgement.
type entry struct {
	*Resource
	// since is the publication that brought the content; an owner that only joins or
	// leaves does not move it.
	since uint64
	// before is the since of the content that it replaced, zero if there was none.
	before uint64
	// position is how far this replica had followed the API server by then (behind.go).
	position uint64
}

// class is a group of proxies with the same answer, and that answer: its view.
type class struct {
	key string

	mu sync.RWMutex
	// ready is false until the first publication: nothing is sent before it is whole.
	ready   bool
	view    map[string]map[string]entry // type → name → entry
	byOwner map[objectID]map[Key]struct{}

	// sessions are guarded by the cache's lock.
	sessions map[*session]struct{}
}

func newClass(key string) *class {
	c := &class{
		key:      key,
		view:     map[string]map[string]entry{},
		byOwner:  map[objectID]map[Key]struct{}{},
		sessions: map[*session]struct{}{},
	}
	for _, typeURL := range sendOrder {
		c.view[typeURL] = map[string]entry{}
	}
	return c
}

func (c *class) isReady() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.ready
}

// get returns the entry of a key.
func (c *class) get(typeURL, name string) (entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, found := c.view[typeURL][name]
	return e, found
}

// has reports whether there is anything of a type.
func (c *class) has(typeURL string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.view[typeURL]) > 0
}

// names calls do with every name of a type.
func (c *class) names(typeURL string, do func(string)) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for name := range c.view[typeURL] {
		do(name)
	}
}

// owned returns the keys of what an object contributed to.
func (c *class) owned(object objectID) []Key {
	c.mu.RLock()
	defer c.mu.RUnlock()
	keys := make([]Key, 0, len(c.byOwner[object]))
	for key := range c.byOwner[object] {
		keys = append(keys, key)
	}
	return keys
}

// apply changes the view and returns the names whose content changed, or what it
// requires, and for each object the keys that it no longer contributes to.
func (c *class) apply(update Update, publication, position uint64) (changed []Key, left map[objectID][]Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = true
	left = map[objectID][]Key{}
	for _, key := range update.Remove {
		old, found := c.view[key.TypeURL][key.Name]
		if !found {
			continue
		}
		c.disown(old.Resource)
		delete(c.view[key.TypeURL], key.Name)
		changed = append(changed, key)
	}
	for _, resource := range update.Set {
		old, found := c.view[resource.TypeURL][resource.Name]
		next := entry{Resource: resource, since: publication, position: position}
		if found {
			next.before = old.since
			if old.Hash == resource.Hash {
				next.since, next.before, next.position = old.since, old.before, old.position
			}
			c.disown(old.Resource)
			for _, owner := range old.Owners {
				left[owner] = append(left[owner], resource.Key)
			}
		}
		for _, owner := range resource.Owners {
			if c.byOwner[owner] == nil {
				c.byOwner[owner] = map[Key]struct{}{}
			}
			c.byOwner[owner][resource.Key] = struct{}{}
		}
		c.view[resource.TypeURL][resource.Name] = next
		if !found || old.Hash != resource.Hash || !slices.Equal(old.Requires, resource.Requires) {
			changed = append(changed, resource.Key)
		}
	}
	for owner, keys := range left {
		var gone []Key
		for _, key := range keys {
			if _, still := c.byOwner[owner][key]; !still {
				gone = append(gone, key)
			}
		}
		if len(gone) == 0 {
			delete(left, owner)
			continue
		}
		left[owner] = gone
	}
	return changed, left
}

func (c *class) disown(resource *Resource) {
	for _, owner := range resource.Owners {
		delete(c.byOwner[owner], resource.Key)
		if len(c.byOwner[owner]) == 0 {
			delete(c.byOwner, owner)
		}
	}
}
