package controllers_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"go.uber.org/goleak"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/hold"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/settings"
	"fairlead.dev/fairlead/internal/status"
	"fairlead.dev/fairlead/test/testenv"
)

var (
	api    *testenv.APIServer
	writer client.Client // what a person does, uncached
	scheme *runtime.Scheme
)

func TestControllers(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(15 * time.Second)
	SetDefaultEventuallyPollingInterval(10 * time.Millisecond)
	RunSpecs(t, "The controllers at a real API server")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	// Controllers log through the suite's output, so that a failure shows what they saw.
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(GinkgoWriter, nil)))
	var err error
	api, err = testenv.StartAPIServer()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(api.Stop()).To(Succeed()) })

	scheme = runtime.NewScheme()
	builder := runtime.NewSchemeBuilder(authenticationv1.AddToScheme, coordinationv1.AddToScheme, corev1.AddToScheme, discoveryv1.AddToScheme, networkingv1.AddToScheme, controllers.AddRevisions, eventsv1.AddToScheme, v1alpha1.AddToScheme)
	Expect(builder.AddToScheme(scheme)).To(Succeed())
	writer, err = client.New(api.Config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())

	for _, file := range []string{
		"manager/namespace.yaml", "rbac/service_account.yaml", "rbac/role.yaml", "rbac/role_binding.yaml",
		"rbac/leader_election_role.yaml", "rbac/leader_election_role_binding.yaml",
	} {
		output, err := api.Kubectl(ctx, "apply", "-f", filepath.Join(testenv.Root(), "config", file)).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(output))
	}
})

// Whatever a spec starts has ended when the spec has.
var _ = BeforeEach(func() {
	before := goleak.IgnoreCurrent()
	DeferCleanup(func() {
		Eventually(func() error { return goleak.Find(append(idleConnections, before)...) }).
			Should(Succeed(), "managers that ended leave nothing running")
	})
})

// replica is one manager: what `main` assembles, less translation and delivery. The spec
// plays those two by calling the table.
type replica struct {
	store    *mesh.Store
	table    *status.Table
	holder   *hold.Holder
	settings *settings.Holder
	// source has what authority has read; the leader makes one if there is none.
	source    *pki.Source
	authority *controllers.Authority
	// first makes the mesh's first generation; nil: it is built in.
	first func(time.Time) (*pki.Generation, error)
	// elected is closed once the replica leads.
	elected <-chan struct{}
	// stop ends the replica before the spec does.
	stop func()
}

// asManager is access with the rights that config/rbac gives the manager.
func asManager() *rest.Config {
	access := rest.CopyConfig(api.Config)
	access.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:fairlead-system:fairlead-manager",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:fairlead-system", "system:authenticated"},
	}
	return access
}

// startReplica starts a manager with the rights that config/rbac gives it, and waits until
// it has read everything. Replicas of one election have one leader at a time; a replica
// without an election leads. It ends with the spec, if not before. More is added before it
// starts.
func startReplica(election string, more ...func(ctrl.Manager, *replica)) *replica {
	GinkgoHelper()
	manager, err := ctrl.NewManager(asManager(), ctrl.Options{
		Scheme:  scheme,
		Cache:   controllers.CacheOptions("fairlead-system"),
		Metrics: metricsserver.Options{BindAddress: "0"},
		// Every spec has managers of its own in this process.
		Controller:                    config.Controller{SkipNameValidation: new(true)},
		LeaderElection:                election != "",
		LeaderElectionID:              election,
		LeaderElectionNamespace:       "fairlead-system",
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(3 * time.Second),
		RenewDeadline:                 new(2 * time.Second),
		RetryPeriod:                   new(100 * time.Millisecond),
	})
	Expect(err).NotTo(HaveOccurred())
	r := &replica{store: mesh.NewStore(), table: status.NewTable(clock.RealClock{}), settings: settings.NewHolder(), source: pki.NewSource(), elected: manager.Elected()}
	log := slog.New(slog.NewTextHandler(GinkgoWriter, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.holder = hold.New(hold.Options{Clock: clock.RealClock{}, Log: log, Report: r.table.Delivered})
	ctx, cancel := context.WithCancel(context.Background())
	primer, err := controllers.Setup(ctx, manager, controllers.Options{
		Store: r.store, Table: r.table, Holder: r.holder, Clock: clock.RealClock{},
		Convert:   convert.Options{ClusterDomain: "cluster.local"},
		Namespace: "fairlead-system", Settings: r.settings, Log: log,
	})
	Expect(err).NotTo(HaveOccurred())
	r.authority, err = controllers.NewAuthority(manager, controllers.AuthorityOptions{
		Namespace: "fairlead-system", Source: r.source, Clock: clock.RealClock{}, Log: log,
		First: func(now time.Time) (*pki.Generation, error) {
			if r.first != nil {
				return r.first(now)
			}
			return pki.NewGeneration(1, "cluster.local", now, 365*24*time.Hour)
		},
	})
	Expect(err).NotTo(HaveOccurred())
	for _, add := range more {
		add(manager, r)
	}

	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		Eventually(ended).Should(Receive(BeNil()), "the manager ends when it is told to")
	})
	DeferCleanup(r.stop)
	Eventually(primer.Primed()).Should(BeClosed(), "the mesh is read")
	return r
}

// idleConnections are what client-go keeps for the next client of the process.
var idleConnections = []goleak.Option{
	goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
	goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*clientConnReadLoop).run"),
}

// newNamespace makes a namespace that belongs to the running spec.
func newNamespace(ctx context.Context) string {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-"}}
	Expect(writer.Create(ctx, namespace)).To(Succeed())
	return namespace.Name
}

// virtualService sends all requests to host on to itself.
func virtualService(namespace, name, host string) *v1alpha1.VirtualService {
	return &v1alpha1.VirtualService{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.VirtualServiceSpec{
			Hosts: []string{host},
			HTTP:  []v1alpha1.HTTPRoute{{Route: []v1alpha1.HTTPRouteDestination{{Destination: v1alpha1.Destination{Host: host}}}}},
		},
	}
}

// change edits an object as every client must: on top of what is there, as status may have
// been written in between.
func change(ctx context.Context, object *v1alpha1.VirtualService, edit func()) {
	GinkgoHelper()
	Expect(retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := writer.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		edit()
		return writer.Update(ctx, object)
	})).To(Succeed())
}

func idOf(kind string, object client.Object) mesh.ObjectID {
	return mesh.ObjectID{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName()}
}

// fullHost is the full name of a service.
func fullHost(name, namespace string) string {
	return fmt.Sprintf("%s.%s.svc.cluster.local", name, namespace)
}
