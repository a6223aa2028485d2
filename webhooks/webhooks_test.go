package webhooks_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/settings"
	"fairlead.dev/fairlead/test/testenv"
	"fairlead.dev/fairlead/webhooks"
)

const home = "fairlead-system"

// TestRefusalsReachKubectl runs the webhooks as the manager does, with its rights, and asks
// the real API server through the real kubectl.
func TestRefusalsReachKubectl(t *testing.T) {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(30 * time.Second)
	api, err := testenv.StartAPIServer()
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { g.Expect(api.Stop()).To(Succeed()) }()
	kubectl := func(stdin string, arguments ...string) (string, error) {
		command := api.Kubectl(t.Context(), arguments...)
		command.Stdin = strings.NewReader(stdin)
		output, err := command.CombinedOutput()
		return string(output), err
	}
	for _, file := range []string{"manager/namespace.yaml", "rbac/service_account.yaml", "rbac/role.yaml", "rbac/role_binding.yaml"} {
		output, err := kubectl("", "apply", "-f", filepath.Join(testenv.Root(), "config", file))
		g.Expect(err).NotTo(HaveOccurred(), output)
	}
	before := goleak.IgnoreCurrent()
	source, stop := startWebhooks(g, api)
	defer stop()
	person, err := client.New(api.Config, client.Options{Scheme: scheme(g)})
	g.Expect(err).NotTo(HaveOccurred())
	registered := func() (*admissionv1.ValidatingWebhookConfiguration, error) {
		found := &admissionv1.ValidatingWebhookConfiguration{}
		return found, person.Get(t.Context(), client.ObjectKey{Name: webhooks.Name}, found)
	}

	// Before there is an authority nothing can be registered, and objects are taken.
	weekly := manifest("MeshCertificate", "weekly", `{serviceAccount: reviews, duration: 96h, renewal: {windows: [
		{days: [Sunday], start: "02:00", end: "05:00", timeZone: Europe/Berlin}]}}`)
	output, err := kubectl(weekly, "apply", "-f", "-")
	g.Expect(err).NotTo(HaveOccurred(), output)
	_, err = registered()
	g.Expect(client.IgnoreNotFound(err)).To(Succeed())
	g.Expect(err).To(HaveOccurred())

	first, err := pki.NewGeneration(1, "cluster.local", time.Now(), time.Hour)
	g.Expect(err).NotTo(HaveOccurred())
	authority, err := pki.NewAuthority(first)
	g.Expect(err).NotTo(HaveOccurred())
	source.Set(authority)

	refused := func() (string, error) {
		output, err := kubectl(strings.ReplaceAll(weekly, "weekly", "weekly-too"), "apply", "--server-side", "--dry-run=server", "-f", "-")
		if err == nil {
			return output, errors.New("it is taken")
		}
		return output, nil
	}
	g.Eventually(refused).Should(And(
		ContainSubstring(`admission webhook "validate.mesh.fairlead.dev" denied the request: FL0010 spec.renewal.windows: none opens from`),
		ContainSubstring("a certificate that is valid for 96 h has to find one within"),
		ContainSubstring("add a window or a day, shorten the freeze, or issue for longer"),
	), "the reason is shown")
	configuration, err := registered()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(configuration.Webhooks).To(HaveExactElements(And(
		HaveField("FailurePolicy", HaveValue(Equal(admissionv1.Ignore))),
		HaveField("ClientConfig.URL", HaveValue(HavePrefix("https://127.0.0.1:"))),
		HaveField("ClientConfig.CABundle", Equal(authority.Bundle())),
	)))

	// The other kinds, by the same rules as their status.
	output, err = kubectl(manifest("VirtualService", "zero", `{hosts: [a], http: [{route: [{destination: {host: a}, weight: 0}]}]}`), "create", "-f", "-")
	g.Expect(err).To(HaveOccurred())
	g.Expect(output).To(ContainSubstring("FL0004 spec.http[0].route: the weights of all destinations are zero"))
	output, err = kubectl(manifest("DestinationRule", "later", `{host: 192.0.2.7}`), "create", "-f", "-")
	g.Expect(err).NotTo(HaveOccurred(), "what is not implemented yet is taken")
	g.Expect(output).To(ContainSubstring("Warning: FL0002 spec.host: IP addresses as hosts are not implemented yet"))

	// An object that was taken unseen can be labelled, and not made worse.
	output, err = kubectl("", "label", "meshcertificate/weekly", "team=shop")
	g.Expect(err).NotTo(HaveOccurred(), output)
	output, err = kubectl("", "patch", "meshcertificate/weekly", "--type=merge", `--patch={"spec":{"duration":"95h"}}`)
	g.Expect(err).To(HaveOccurred())
	g.Expect(output).To(ContainSubstring("FL0010"))

	// A new root is trusted before it signs, then it signs; each time the bundle follows.
	second, err := pki.NewGeneration(2, "cluster.local", time.Now(), time.Hour)
	g.Expect(err).NotTo(HaveOccurred())
	for _, step := range []func(*pki.Authority) (*pki.Authority, error){
		func(a *pki.Authority) (*pki.Authority, error) { return a.Add(second) },
		func(a *pki.Authority) (*pki.Authority, error) { return a.Trust(2) },
		func(a *pki.Authority) (*pki.Authority, error) { return a.Activate(2) },
		func(a *pki.Authority) (*pki.Authority, error) { return a.Drop(1) },
	} {
		authority, err = step(authority)
		g.Expect(err).NotTo(HaveOccurred())
		source.Set(authority)
		g.Eventually(registered).Should(HaveField("Webhooks", HaveExactElements(HaveField("ClientConfig.CABundle", Equal(authority.Bundle())))))
		g.Eventually(refused).Should(ContainSubstring("FL0010"))
	}

	// Whoever changes or deletes the registration: it comes back.
	output, err = kubectl("", "delete", "validatingwebhookconfiguration", webhooks.Name)
	g.Expect(err).NotTo(HaveOccurred(), output)
	g.Eventually(refused).Should(ContainSubstring("FL0010"), "it is registered again")
	configuration, err = registered()
	g.Expect(err).NotTo(HaveOccurred())
	configuration.Webhooks[0].ClientConfig.CABundle = pki.EncodeCertificates(first.Root)
	g.Expect(person.Update(t.Context(), configuration)).To(Succeed())
	g.Eventually(registered).Should(HaveField("Webhooks", HaveExactElements(HaveField("ClientConfig.CABundle", Equal(authority.Bundle())))))

	// Without a manager people go on working.
	stop()
	output, err = refused()
	g.Expect(err).To(MatchError("it is taken"), output)
	g.Eventually(func() error { return goleak.Find(before, idleReads, idleWrites, idleHTTP2) }).Should(Succeed(), "nothing is left running")
}

// idleReads and the like are what client-go keeps for the next client of the process.
var (
	idleReads  = goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop")
	idleWrites = goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop")
	idleHTTP2  = goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*clientConnReadLoop).run")
)

func scheme(g *WithT) *runtime.Scheme {
	s := runtime.NewScheme()
	builder := runtime.NewSchemeBuilder(admissionv1.AddToScheme, v1alpha1.AddToScheme)
	g.Expect(builder.AddToScheme(s)).To(Succeed())
	return s
}

// startWebhooks starts what main assembles of the webhooks, with an authority that is still to come.
func startWebhooks(g *WithT, api *testenv.APIServer) (source *pki.Source, stop func()) {
	access := rest.CopyConfig(api.Config)
	access.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + home + ":fairlead-manager", Groups: []string{"system:authenticated"},
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	m, err := ctrl.NewManager(access, ctrl.Options{Scheme: scheme(g), Cache: cache.Options{ByObject: webhooks.Cached()}, Metrics: metricsserver.Options{BindAddress: "0"}})
	g.Expect(err).NotTo(HaveOccurred())
	inForce := settings.NewHolder()
	parsed, err := settings.Parse([]byte("certificates: {timeZone: Europe/Berlin}"))
	g.Expect(err).NotTo(HaveOccurred())
	inForce.Set(parsed)
	source = pki.NewSource()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	g.Expect(err).NotTo(HaveOccurred())
	identity := pki.Identity{TrustDomain: "cluster.local", Namespace: home, ServiceAccount: "fairlead-manager"}
	serving := pki.NewServing(source, identity, webhooks.Names(home), clock.RealClock{}, log)
	server := &webhooks.Server{
		Listener: listener, TLS: serving.ServerConfig(), Log: log,
		Handler: webhooks.Handler(webhooks.Rules{Settings: inForce, Namespace: home, Clock: clock.RealClock{}}),
	}
	registration := &webhooks.Registration{Client: m.GetClient(), Source: source, URL: webhooks.URL(listener.Addr()), Namespace: home, Log: log}
	g.Expect(registration.Setup(m)).To(Succeed())
	for _, component := range []manager.Runnable{serving, server} {
		g.Expect(m.Add(component)).To(Succeed())
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Start(ctx) }()
	return source, sync.OnceFunc(func() {
		cancel()
		g.Eventually(ended).Should(Receive(BeNil()), "the manager ends")
	})
}

func manifest(kind, name, spec string) string {
	return "apiVersion: mesh.fairlead.dev/v1alpha1\nkind: " + kind + "\nmetadata: {name: " + name + "}\nspec: " + spec + "\n"
}
