package main

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	scheme "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/settings"
	"fairlead.dev/fairlead/test/testenv"
)

const (
	serviceAccounts = 10_000
	home            = "fairlead-system"
)

// BenchmarkIssuing is how fast a manager that starts gives 10,000 service accounts their
// Secrets, with a real API server on the same CPUs; and what it costs when all is done.
func BenchmarkIssuing(b *testing.B) {
	ctrl.SetLogger(logr.Discard())
	for b.Loop() {
		b.StopTimer()
		api, err := testenv.StartAPIServer()
		if err != nil {
			b.Fatal(err)
		}
		fillAPI(b, api.Config)
		b.StartTimer()
		begin := time.Now()
		stop := startIssuing(b, api.Config)
		awaitSecrets(b, api.Config)
		b.ReportMetric(serviceAccounts/time.Since(begin).Seconds(), "certificates/s")
		b.StopTimer()
		b.ReportMetric(idle(b), "%CPU-idle")
		stop()
		if err := api.Stop(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// idle is how much of a CPU the process takes once all is done, in per cent.
func idle(b *testing.B) float64 {
	const settle, measured = 10 * time.Second, 20 * time.Second
	used := func() time.Duration {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			b.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	<-time.After(settle)
	before := used()
	<-time.After(measured)
	return 100 * (used() - before).Seconds() / measured.Seconds()
}

func unlimited(access *rest.Config) *rest.Config {
	access = rest.CopyConfig(access)
	access.QPS = -1
	return access
}

func benchScheme(b *testing.B) *scheme.Scheme {
	s := scheme.NewScheme()
	builder := scheme.NewSchemeBuilder(corev1.AddToScheme, discoveryv1.AddToScheme, v1alpha1.AddToScheme)
	if err := builder.AddToScheme(s); err != nil {
		b.Fatal(err)
	}
	return s
}

// fillAPI makes a meshed namespace with many service accounts.
func fillAPI(b *testing.B, access *rest.Config) {
	c, err := client.New(unlimited(access), client.Options{Scheme: benchScheme(b)})
	if err != nil {
		b.Fatal(err)
	}
	for _, namespace := range []*corev1.Namespace{
		{ObjectMeta: metav1.ObjectMeta{Name: home}},
		{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{v1alpha1.InjectionLabel: "enabled"}}},
	} {
		if err := c.Create(b.Context(), namespace); err != nil {
			b.Fatal(err)
		}
	}
	group, ctx := errgroup.WithContext(b.Context())
	group.SetLimit(32)
	for i := range serviceAccounts {
		group.Go(func() error {
			return c.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("account-%05d", i)}})
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

// startIssuing starts what the manager has of the rotation of certificates.
func startIssuing(b *testing.B, access *rest.Config) (stop func()) {
	log := slog.New(slog.DiscardHandler)
	skip := true
	m, err := ctrl.NewManager(unlimited(access), ctrl.Options{
		Scheme: benchScheme(b), Cache: controllers.CacheOptions(home),
		Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: &skip},
	})
	if err != nil {
		b.Fatal(err)
	}
	held, source := settings.NewHolder(), pki.NewSource()
	authority, err := controllers.NewAuthority(m, controllers.AuthorityOptions{
		Namespace: home, Source: source, Clock: clock.RealClock{}, Log: log,
		First: func(now time.Time) (*pki.Generation, error) {
			return pki.NewGeneration(1, "cluster.local", now, 365*24*time.Hour)
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	requests, err := dynamic.NewForConfig(access)
	if err != nil {
		b.Fatal(err)
	}
	_, err = controllers.SetupCertificates(m, controllers.CertificateOptions{
		Options: controllers.Options{Namespace: home, Settings: held, Store: mesh.NewStore(), Clock: clock.RealClock{}, Log: log},
		Source:  source, Authority: authority, Proxies: agents.NewTable(clock.RealClock{}, nil),
		Issuers: &controllers.Issuers{Settings: held, Source: source, Client: requests, Clock: clock.RealClock{}, Log: log},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Start(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
}

// awaitSecrets returns when every service account has its Secret.
func awaitSecrets(b *testing.B, access *rest.Config) {
	c, err := metadata.NewForConfig(unlimited(access))
	if err != nil {
		b.Fatal(err)
	}
	secrets := c.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace("shop")
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		// The API server counts what it does not list.
		list, err := secrets.List(b.Context(), metav1.ListOptions{Limit: 1})
		if err != nil {
			b.Fatal(err)
		}
		if rest := list.GetRemainingItemCount(); rest != nil && *rest == serviceAccounts-1 {
			return
		}
	}
}
