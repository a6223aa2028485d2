package controllers

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/settings"
)

// SettingsReconciler keeps the mesh's settings as the ConfigMap has them. What cannot be
// used changes nothing: the last good settings stay in force, and the fault is told in an
// event, in the log and by a metric.
type SettingsReconciler struct {
	Reader client.Reader
	Store  *mesh.Store
	Holder *settings.Holder
	Events events.EventRecorder
	Clock  clock.PassiveClock
	Log    *slog.Logger
	// Refused is 1 while the ConfigMap says something else than what is in force.
	Refused prometheus.Gauge
	// Namespace is the manager's.
	Namespace string
	// told is the resource version of which a fault was told.
	told string
}

// NewSettingsRefused returns the gauge of a SettingsReconciler.
func NewSettingsRefused() prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "fairlead_settings_refused",
		Help: "1 while the ConfigMap of the mesh's settings cannot be used and the last good settings are in force.",
	})
}

// Reconcile implements reconcile.Reconciler.
func (r *SettingsReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	if request.Namespace != r.Namespace || request.Name != settings.Name {
		return ctrl.Result{}, nil
	}
	var configMap corev1.ConfigMap
	err := r.Reader.Get(ctx, request.NamespacedName, &configMap)
	switch {
	case apierrors.IsNotFound(err):
		r.Log.Warn("The mesh's settings were deleted; the last ones stay in force until the manager restarts", "configMap", request.NamespacedName)
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	read, err := readSettings(&configMap, r.Clock.Now())
	if err != nil {
		r.refuse(&configMap, err)
		return ctrl.Result{}, nil
	}
	r.Refused.Set(0)
	if running := r.Holder.Get().TrustDomain; read.TrustDomain != running {
		// It is in every certificate that there is, the manager's own among them.
		r.Log.Warn("Another trust domain takes a restart of the manager", "running", running, "wanted", read.TrustDomain)
		read.TrustDomain = running
	}
	r.Holder.Set(read)
	r.Store.SetSettings(inNamespace(read, r.Namespace))
	r.Log.Info("Read the mesh's settings", "configMap", request.NamespacedName, "timeZone", read.Certificates.TimeZone)
	return ctrl.Result{}, nil
}

// inNamespace returns what translation depends on, with the manager's namespace.
func inNamespace(read *settings.Settings, namespace string) mesh.Settings {
	s := read.Settings
	s.RootNamespace = namespace
	return s
}

// ReadSettings returns what the ConfigMap in the manager's namespace says now, for what is
// settled before anything is watched; of one that cannot be used, which the reconciler tells,
// what can be used; without one, the settings of a mesh without.
func ReadSettings(ctx context.Context, reader client.Reader, namespace string, now time.Time) (*settings.Settings, error) {
	var configMap corev1.ConfigMap
	key := client.ObjectKey{Namespace: namespace, Name: settings.Name}
	if err := reader.Get(ctx, key, &configMap); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read the mesh's settings in ConfigMap %s: %w", key, err)
	}
	read, err := readSettings(&configMap, now)
	if err != nil {
		return settings.Usable([]byte(configMap.Data[settings.Key])), nil //nolint:nilerr // said above
	}
	return read, nil
}

func readSettings(configMap *corev1.ConfigMap, now time.Time) (*settings.Settings, error) {
	text, found := configMap.Data[settings.Key]
	if !found {
		return nil, fmt.Errorf("it has no entry %s", settings.Key)
	}
	read, err := settings.Parse([]byte(text))
	if err != nil {
		return nil, err
	}
	return read, read.Check(now)
}

func (r *SettingsReconciler) refuse(configMap *corev1.ConfigMap, fault error) {
	if r.told == configMap.ResourceVersion {
		return
	}
	r.told = configMap.ResourceVersion
	r.Refused.Set(1)
	r.Log.Error("The mesh's settings cannot be used; the last good ones stay in force", "configMap", client.ObjectKeyFromObject(configMap), "err", fault)
	r.Events.Eventf(configMap, nil, corev1.EventTypeWarning, "SettingsRefused", "ReadSettings",
		"%s", truncated(fmt.Sprintf("the last good settings stay in force: %v", fault)))
}

// truncated cuts a text to what an event's note takes: 1 kB (k8s.io/api/events/v1).
func truncated(text string) string {
	const most = 1000
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
