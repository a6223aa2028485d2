package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/hds"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/publish"
	"fairlead.dev/fairlead/internal/status"
	"fairlead.dev/fairlead/internal/xds"
	"fairlead.dev/fairlead/test/schema"
	"fairlead.dev/fairlead/test/testenv"
)

// stage is what all cases share: the way from the store to the proxies as the manager has it,
// and the proxies.
type stage struct {
	store     *mesh.Store
	cache     *xds.Cache
	table     *status.Table
	options   convert.Options
	admission schema.Admission
	dir       string
	log       *os.File
	proxies   []*proxy
	authority *testenv.Authority
	stops     []func() error

	// born is how many objects there were: the older ones win, by seconds.
	born atomic.Int64

	mu sync.Mutex
	// marks is the generation of the marker, and seen the one that was published last.
	marks int64
	seen  atomic.Int64
}

// marker is an object that says nothing: once a generation of it is published, so is all that
// was put into the store before.
var marker = mesh.ObjectID{Kind: convert.KindVirtualService, Namespace: "conformance", Name: "marker"}

func startStage(callers []*proxy) (*stage, error) {
	dir, err := testenv.SocketDir()
	if err != nil {
		return nil, err
	}
	s := &stage{store: mesh.NewStore(), table: status.NewTable(clock.RealClock{}), dir: dir, proxies: callers}
	// As a ServiceCIDR says it: without, each Service that comes or goes changes the intercepting
	// listener, which ends the connections of a caller once it has drained.
	s.store.SetServiceRanges([]netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")})
	s.stops = append(s.stops, func() error { return os.RemoveAll(dir) })
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *stage) start() (err error) {
	if s.admission, err = schema.NewAdmission(); err != nil {
		return err
	}
	if err := s.makeAuthority(); err != nil {
		return err
	}
	// What the proxies say is for when a case fails: it names the file.
	if s.log, err = os.Create(filepath.Join(os.TempDir(), fmt.Sprintf("fairlead-conformance-%d-%s.log", os.Getpid(), filepath.Base(s.dir)))); err != nil {
		return err
	}
	if err := s.serve(); err != nil {
		return err
	}
	return s.startProxies()
}

// serve runs what the manager runs, on the Unix socket and, for intercepting proxies, behind
// what stands for redirect rules.
func (s *stage) serve() error {
	log := slog.New(slog.NewTextHandler(s.log, nil))
	s.cache = xds.NewCache(xds.Options{Clock: clock.RealClock{}, Log: log, Report: func(r delivery.Report) {
		s.table.Delivered(r)
		if r.Object == marker {
			s.seen.Store(r.Generation)
		}
	}})
	primed := make(chan struct{})
	close(primed)
	var publisher *publish.Publisher
	checks := hds.NewServer(hds.Options{
		Store: s.store, Clock: clock.RealClock{}, Log: log,
		Admit: func(node string, caller *xds.Caller) error { return publisher.Admit(node, caller) },
	})
	publisher = publish.New(publish.Options{
		Store: s.store, Cache: s.cache, Table: s.table, Clock: clock.RealClock{}, Log: log, Primed: primed, Checks: checks.Check,
	})
	server := xds.NewServer(s.cache, xds.ServerOptions{Socket: s.socket(), After: publisher.Published(), Directory: publisher, Health: checks, Log: log})
	s.background(checks.Start)
	s.background(publisher.Start)
	s.background(server.Start)
	return s.redirect(server, checks)
}

// background runs something until the stage ends.
func (s *stage) background(start func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- start(ctx) }()
	s.stops = append(s.stops, func() error {
		cancel()
		return <-ended
	})
}

func (s *stage) socket() string { return filepath.Join(s.dir, "xds", "xds.sock") }

// stop ends everything, what began last first.
func (s *stage) stop() error {
	var failures []error
	for i := len(s.stops) - 1; i >= 0; i-- {
		failures = append(failures, s.stops[i]())
	}
	return errors.Join(failures...)
}

// logs returns where a proxy's own words go.
func (s *stage) logs() io.Writer { return s.log }

// mark has everything that is in the store now told from what comes later; published says
// whether it is.
func (s *stage) mark() (published func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks++
	mark := s.marks
	s.store.SetRouteTable(&mesh.RouteTable{Origin: mesh.Origin{ObjectID: marker, Generation: mark}})
	return func() bool { return s.seen.Load() >= mark }
}

// settled reports whether no proxy waits for anything.
func (s *stage) settled() bool {
	proxies := s.cache.Proxies()
	for _, proxy := range proxies {
		if proxy.Waiting > 0 {
			return false
		}
	}
	return len(proxies) >= len(s.proxies)
}

// birth is when the next object is created.
func (s *stage) birth() time.Time { return time.Unix(s.born.Add(1), 0) }
