package publish

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	healthv3 "github.com/envoyproxy/go-control-plane/envoy/service/health/v3"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/translate"
	"fairlead.dev/fairlead/internal/xds"
)

// Sink receives what translation finds wrong with an object. Each call replaces the ones
// before it for the same object.
type Sink interface {
	Findings(mesh.ObjectID, []message.Finding)
}

// Options are what a Publisher needs. All fields are required but Checks, Refresh and Credentials.
type Options struct {
	Store *mesh.Store
	Cache *xds.Cache
	Table Sink
	Clock clock.WithTicker
	Log   *slog.Logger
	// Primed is closed when the store holds everything that the API server does: before
	// that, a proxy would be told to drop what it runs.
	Primed <-chan struct{}
	// Checks is told what proxies are to check for a unit of translation, again where it
	// changes; nil: nobody asks them to.
	Checks func(translate.Unit, []*healthv3.ClusterHealthCheck)
	// Refresh is how often everything is translated and sent again, whether it changed or not;
	// zero: never.
	Refresh time.Duration
	// Credentials is told which Secrets translation reads, whenever that changes; nil: nobody is.
	// It must not wait.
	Credentials func([]mesh.NamespacedName)
}

// Publisher is the path from the store to the cache. It runs on every replica.
type Publisher struct {
	options   Options
	published chan struct{}
	// requested receives when a class was asked for that has no view yet.
	requested chan struct{}

	mu       sync.Mutex
	units    map[translate.Unit]*unit
	readers  readers[translate.Unit]
	classes  map[string]*class
	listers  readers[string]
	nodes    map[xds.Client]*node
	findings map[mesh.ObjectID]map[translate.Unit][]message.Finding
	// out are the objects that something found keeps out of use.
	out   map[mesh.ObjectID]struct{}
	swept time.Time
	// credentials is set while what is read of Secrets is not told yet.
	credentials bool
}

// New returns a publisher that has published nothing.
func New(options Options) *Publisher {
	p := &Publisher{
		options:   options,
		published: make(chan struct{}),
		requested: make(chan struct{}, 1),
		units:     map[translate.Unit]*unit{},
		readers:   readers[translate.Unit]{},
		classes:   map[string]*class{},
		listers:   readers[string]{},
		nodes:     map[xds.Client]*node{},
		findings:  map[mesh.ObjectID]map[translate.Unit][]message.Finding{},
		out:       map[mesh.ObjectID]struct{}{},
	}
	// Findings must not wait for a proxy that happens to use the object.
	// The units of proxies with certificates are those that most classes have anyway.
	p.classes[referenceClass] = &class{fresh: true, class: translate.Class{MTLS: mesh.MTLSPermissive, Everybody: true}}
	return p
}

// referenceClass is the key of a class without proxies, translated for its findings only.
const referenceClass = "reference"

// NeedLeaderElection says that followers publish too.
func (p *Publisher) NeedLeaderElection() bool { return false }

// Published is closed after the first publication.
func (p *Publisher) Published() <-chan struct{} { return p.published }

// Start publishes until the context ends.
func (p *Publisher) Start(ctx context.Context) error {
	select {
	case <-p.options.Primed:
	case <-ctx.Done():
		return nil
	}
	p.options.Cache.Await(p.served())
	p.publish()
	close(p.published)
	var refresh <-chan time.Time // nil: never
	if p.options.Refresh > 0 {
		ticker := p.options.Clock.NewTicker(p.options.Refresh)
		defer ticker.Stop()
		refresh = ticker.C()
	}
	pace := pace{clock: p.options.Clock, last: p.options.Clock.Now()}
	for {
		select {
		case <-p.options.Store.Wake():
		case <-p.requested:
		case <-refresh:
			p.publishAll()
			continue
		case <-ctx.Done():
			return nil
		}
		if wait := pace.next(); wait > 0 {
			timer := p.options.Clock.NewTimer(wait)
			select {
			case <-timer.C():
			case <-ctx.Done():
				timer.Stop()
				return nil
			}
		}
		p.publish()
		pace.done()
	}
}

// served returns the node ids of the workloads that have a proxy which was served before
// this process came, and begins to look after them. An explicit one is ready only if its
// proxy is; of others it cannot be seen yet whether they have one.
func (p *Publisher) served() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for _, workload := range p.options.Store.Workloads() {
		if !workload.Explicit || !workload.Ready {
			continue
		}
		id := workload.Key().String()
		view := mesh.NewRecorder(p.options.Store)
		class := translate.ClassOf(view, view.Workload(workload.Key()))
		p.nodes[xds.Client{Node: id}] = &node{workload: workload.Key(), class: class.Key(), read: view.Read}
		ids = append(ids, id)
	}
	return ids
}

// Class implements xds.Directory: the class of an existing Pod's client.
func (p *Publisher) Class(client xds.Client, caller *xds.Caller) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	view := mesh.NewRecorder(p.options.Store)
	workload, err := admit(view, client.Node, caller)
	if err != nil {
		return "", err
	}
	found := translate.ClassOf(view, workload).By(client.Transport)
	p.nodes[client] = &node{workload: workload.Key(), class: found.Key(), read: view.Read}
	p.request(found)
	return found.Key(), nil
}

// Admit returns nil if there is a Pod with this node id, for which the caller may speak.
func (p *Publisher) Admit(id string, caller *xds.Caller) error {
	_, err := admit(mesh.NewRecorder(p.options.Store), id, caller)
	return err
}

// admit returns the workload with a node id, if the caller may speak for it.
func admit(view mesh.View, id string, caller *xds.Caller) (*mesh.Workload, error) {
	namespace, name, ok := strings.Cut(id, "/")
	if !ok || namespace == "" || name == "" {
		return nil, fmt.Errorf("node id %q is not of the form <namespace>/<pod>: set it in the bootstrap", id)
	}
	workload := view.Workload(mesh.NamespacedName{Namespace: namespace, Name: name})
	if workload == nil {
		return nil, fmt.Errorf("there is no Pod %s that runs: the node id must name one", id)
	}
	if caller != nil {
		if err := caller.Permits(namespace, name, workload.ServiceAccount); err != nil {
			return nil, err
		}
	}
	return workload, nil
}

// request makes sure that a class will have a view.
func (p *Publisher) request(wanted translate.Class) {
	key := wanted.Key()
	known := p.classes[key]
	if known == nil {
		known = &class{class: wanted, fresh: true}
		p.classes[key] = known
	}
	known.requested = p.options.Clock.Now()
	if known.fresh {
		select {
		case p.requested <- struct{}{}:
		default:
		}
	}
}
