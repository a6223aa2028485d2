package xds

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
)

type objectID = mesh.ObjectID

// Options are what a Cache needs.
type Options struct {
	Clock clock.WithDelayedExecution
	Log   *slog.Logger
	// ReconnectGrace is how long a proxy that disconnected still counts as concerned, and
	// how long after the start of serving no proxy is not yet taken to mean that there is
	// none.
	ReconnectGrace time.Duration
	// GateTimeout is how long a route waits for clusters that its proxy does not
	// acknowledge; zero means DefaultGateTimeout.
	GateTimeout time.Duration
	// Report receives what proxies did with objects. It is called with locks held and must
	// not call back.
	Report func(delivery.Report)
	// Metrics may be nil.
	Metrics *Metrics
	// Position says how far this replica has followed the API server: what it has seen is no
	// older than that. Nil: it is the only one.
	Position func() uint64
}

// DefaultGateTimeout is longer than a busy proxy takes to warm a cluster, and short
// enough that a proxy which cannot is not left with old routes for good.
const DefaultGateTimeout = 5 * time.Second

// Cache holds the views of all classes and the sessions of all proxies.
//
// Locks are taken in this order: cache, session, class, tracker or suspects.
type Cache struct {
	options  Options
	tracker  *tracker
	suspects suspects

	mu          sync.Mutex
	publication uint64
	position    uint64
	classes     map[string]*class
	sessions    map[*session]struct{} // connected
	lost        map[Client]*session   // disconnected, within the grace period
}

// NewCache returns a cache without classes.
func NewCache(options Options) *Cache {
	if options.GateTimeout == 0 {
		options.GateTimeout = DefaultGateTimeout
	}
	if options.Position == nil {
		options.Position = func() uint64 { return 0 }
	}
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	c := &Cache{
		options:  options,
		tracker:  newTracker(options),
		suspects: suspects{hashes: map[Key]string{}},
		classes:  map[string]*class{},
		sessions: map[*session]struct{}{},
		lost:     map[Client]*session{},
	}
	return c
}

// expectProxies says that proxies can connect from now on: those that were connected
// before a restart have the grace period to come back. It counts from here and not from
// the start of the process, which may have to wait for its API server.
func (c *Cache) expectProxies() {
	c.options.Clock.AfterFunc(c.options.ReconnectGrace, c.tracker.settle)
}

// Update is a change to the view of one class. A class comes into being with its first
// update, which holds all of its resources.
type Update struct {
	Class  string
	Set    []*Resource
	Remove []Key
}

// Publication is a change that becomes visible at once.
type Publication struct {
	Updates []Update
	// Objects are those that were written since the last publication, with their
	// generation; mesh.DeletedGeneration for those that are gone.
	Objects map[mesh.ObjectID]int64
	// Accepted are objects that were not written but come into use by this publication,
	// such as one whose host belonged to an older object that is gone. Their delivery
	// starts here: what proxies acknowledged before was not theirs.
	Accepted []mesh.ObjectID
}

// Publish applies a publication and starts its delivery. It does not wait for proxies.
func (c *Cache) Publish(p Publication) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publication++
	c.position = max(c.position, c.options.Position())
	changed := map[*class][]Key{}
	former := map[objectID]map[Key]struct{}{}
	stirred := map[objectID]struct{}{}
	for _, update := range p.Updates {
		c.suspects.forget(update)
		class := c.classOf(update.Class)
		keys, left := class.apply(update, c.publication, c.position)
		changed[class] = append(changed[class], keys...)
		for object, keys := range left {
			stirred[object] = struct{}{}
			if former[object] == nil {
				former[object] = map[Key]struct{}{}
			}
			for _, key := range keys {
				former[object][key] = struct{}{}
			}
		}
		for _, resource := range update.Set {
			for _, owner := range resource.Owners {
				stirred[owner] = struct{}{}
			}
		}
	}

	begun := map[mesh.ObjectID]int64{}
	maps.Copy(begun, p.Objects)
	for _, object := range p.Accepted {
		if generation, tracked := c.tracker.generation(object); tracked {
			if _, written := begun[object]; !written {
				begun[object] = generation
			}
		}
	}
	c.tracker.begin(begun, former, c.publication)
	for object := range begun {
		stirred[object] = struct{}{}
	}
	everybody := c.everybody()
	for object := range stirred {
		if w, tracked := c.tracker.want(object); tracked {
			for _, s := range everybody {
				s.judge(object, w)
			}
		}
	}
	c.tracker.end(begun)

	for class, keys := range changed {
		for s := range class.sessions {
			s.changed(keys)
		}
	}
}

func (c *Cache) classOf(key string) *class {
	found, ok := c.classes[key]
	if !ok {
		found = newClass(key)
		c.classes[key] = found
	}
	return found
}

// everybody returns the connected sessions and the lost ones.
func (c *Cache) everybody() []*session {
	all := make([]*session, 0, len(c.sessions)+len(c.lost))
	for s := range c.sessions {
		all = append(all, s)
	}
	for _, s := range c.lost {
		all = append(all, s)
	}
	return all
}

// join connects a session to the class of its proxy.
func (c *Cache) join(s *session, client Client, classKey string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.lost[client]; before != nil {
		delete(c.lost, client)
		c.tracker.remove(before)
	}
	c.sessions[s] = struct{}{}
	class := c.classOf(classKey)
	class.sessions[s] = struct{}{}
	s.enter(client, class)
	c.options.Metrics.connected.Set(float64(len(c.sessions)))
	s.log().Info("A proxy connected", "class", classKey)
	c.move(client, classKey)
}

// leave disconnects a session; its proxy stays concerned for the grace period.
func (c *Cache) leave(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.log().Info("A proxy disconnected")
	delete(c.sessions, s)
	delete(s.class.sessions, s)
	c.options.Metrics.connected.Set(float64(len(c.sessions)))
	if other := c.lost[s.Client]; other != nil {
		delete(c.lost, s.Client)
		c.tracker.remove(other)
	}
	if c.connectedElsewhere(s.Client) {
		// A hot restart: the successor speaks for the proxy.
		c.tracker.remove(s)
		return
	}
	c.lost[s.Client] = s
	c.tracker.lose(s)
	c.options.Clock.AfterFunc(c.options.ReconnectGrace, func() { c.giveUp(s) })
}

func (c *Cache) connectedElsewhere(client Client) bool {
	for s := range c.sessions {
		if s.Client == client {
			return true
		}
	}
	return false
}

func (c *Cache) giveUp(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost[s.Client] == s {
		delete(c.lost, s.Client)
		c.tracker.remove(s)
	}
}

// Await says which nodes have a proxy that was served by another process before. For the
// grace period after the start each counts as lost, until it is here: the first one that
// comes must not speak for all.
func (c *Cache) Await(nodes []string) { c.tracker.await(nodes) }

// Gone says that the workload behind a node is gone or not ready: if it is not connected,
// nothing waits for it any more.
func (c *Cache) Gone(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tracker.arrived(node)
	for client, s := range c.lost {
		if client.Node == node {
			delete(c.lost, client)
			c.tracker.remove(s)
		}
	}
}

// Move puts a connected client into another class. What it runs already and the new class has
// too is not sent again.
func (c *Cache) Move(client Client, classKey string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.move(client, classKey)
}

func (c *Cache) move(client Client, classKey string) {
	for s := range c.sessions {
		if s.Client != client || s.class.key == classKey {
			continue
		}
		delete(s.class.sessions, s)
		class := c.classOf(classKey)
		class.sessions[s] = struct{}{}
		s.move(class)
	}
}

// Classes returns the keys of the classes that have a connected or lost proxy, sorted.
func (c *Cache) Classes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := map[string]struct{}{}
	for _, s := range c.everybody() {
		keys[s.class.key] = struct{}{}
	}
	sorted := make([]string, 0, len(keys))
	for key := range keys {
		sorted = append(sorted, key)
	}
	slices.Sort(sorted)
	return sorted
}

// Forget drops the view of a class that has no proxy. It reports whether it did.
func (c *Cache) Forget(classKey string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.everybody() {
		if s.class.key == classKey {
			return false
		}
	}
	delete(c.classes, classKey)
	return true
}

// Sync tells how one connected proxy is, for people.
type Sync struct {
	Node, Class string
	// Waiting counts resources that the proxy is still to acknowledge, Withheld those that
	// it refused.
	Waiting, Withheld int
}

// Proxies returns how every connected proxy is, by node.
func (c *Cache) Proxies() []Sync {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Sync
	for s := range c.sessions {
		all = append(all, s.sync())
	}
	slices.SortFunc(all, func(a, b Sync) int { return cmp.Compare(a.Node, b.Node) })
	return all
}
