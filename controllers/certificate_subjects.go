package controllers

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/rotation"
	"fairlead.dev/fairlead/internal/settings"
	"fairlead.dev/fairlead/internal/validate"
)

// SubjectReconciler tells the engine which certificates there are to be, a namespace at a
// time: for each service account of a meshed namespace one, and those that MeshCertificates
// ask for. A request names a namespace.
type SubjectReconciler struct {
	Reader   client.Reader
	Settings *settings.Holder
	Engine   *rotation.Engine
	Issuers  *Issuers
	// Claims remembers what is to be told of each MeshCertificate.
	Claims *claims
	terms  termsCache
	// Namespace is the manager's.
	Namespace string
	Clock     clock.PassiveClock
}

// Reconcile implements reconcile.Reconciler.
func (r *SubjectReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var namespace corev1.Namespace
	err := r.Reader.Get(ctx, types.NamespacedName{Name: request.Name}, &namespace)
	if apierrors.IsNotFound(err) {
		r.Engine.SetSubjects(request.Name, nil)
		r.Claims.set(request.Name, nil)
		return ctrl.Result{}, nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	var accounts corev1.ServiceAccountList
	var objects v1alpha1.MeshCertificateList
	for _, list := range []client.ObjectList{&accounts, &objects} {
		if err := r.Reader.List(ctx, list, client.InNamespace(request.Name)); err != nil {
			return ctrl.Result{}, err
		}
	}
	meshed := convert.Namespace(&namespace).Meshed && namespace.DeletionTimestamp.IsZero()
	c := &claiming{settings: r.Settings.Get(), terms: r.termsOf, best: map[string]claim{}, told: map[string]told{}}
	for i := range accounts.Items {
		if account := &accounts.Items[i]; meshed && account.DeletionTimestamp.IsZero() {
			c.byDefault(account)
		}
	}
	// The oldest first: it keeps what a younger one claims, too.
	order := make([]*v1alpha1.MeshCertificate, 0, len(objects.Items))
	for i := range objects.Items {
		if object := &objects.Items[i]; !object.Spec.IsCA && object.DeletionTimestamp.IsZero() {
			order = append(order, object)
		}
	}
	slices.SortFunc(order, func(a, b *v1alpha1.MeshCertificate) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	for _, selects := range []bool{false, true} { // who names one comes before who selects many
		for _, object := range order {
			if (object.Spec.Selector != nil) == selects {
				c.byObject(object, accounts.Items)
			}
		}
	}
	// In this order: an object that claims are known of is told of its certificates.
	r.Engine.SetSubjects(request.Name, c.subjects())
	r.Claims.set(request.Name, c.told)
	return ctrl.Result{}, nil
}

// claiming finds out who has which Secret of a namespace.
type claiming struct {
	settings *settings.Settings
	terms    func(*v1alpha1.MeshCertificate) (*rotation.Terms, []message.Finding)
	// best are the claims by the Secret's name.
	best map[string]claim
	told map[string]told
}

// claim is a Secret that somebody wants; object is nil for the mesh's settings.
type claim struct {
	rotation.Subject
	object *v1alpha1.MeshCertificate
}

// told is what claiming found out about a MeshCertificate.
type told struct {
	// reason and refused say why its spec is not, or not wholly, in use; missing which service
	// account there is not.
	reason, refused, missing string
}

// byDefault claims a service account's own Secret.
func (c *claiming) byDefault(account *corev1.ServiceAccount) {
	// The settings' own terms are without fault, or they would not be in force.
	terms, _ := c.terms(nil)
	name := c.settings.SecretName(account.Name)
	c.best[name] = claim{Subject: c.subject(account, name, terms, "")}
}

// byObject claims the Secrets of a MeshCertificate.
func (c *claiming) byObject(object *v1alpha1.MeshCertificate, accounts []corev1.ServiceAccount) {
	about := told{}
	defer func() { c.told[object.Name] = about }()
	refuse := func(f message.Finding) { about.reason, about.refused = f.Reason, f.String() }
	terms, findings := c.terms(object)
	if len(findings) > 0 {
		refuse(findings[0])
		return
	}
	id := mesh.ObjectID{Kind: meshCertificateKind, Namespace: object.Namespace, Name: object.Name}
	found := false
	for i := range accounts {
		account := &accounts[i]
		if !wants(object, account) || !account.DeletionTimestamp.IsZero() {
			continue
		}
		found = true
		name := cmp.Or(object.Spec.SecretName, c.settings.SecretName(account.Name))
		held, taken := c.best[name]
		winner := mesh.ObjectID{Kind: "ServiceAccount", Namespace: object.Namespace, Name: held.Identity.ServiceAccount}
		if held.object != nil {
			winner = mesh.ObjectID{Kind: meshCertificateKind, Namespace: object.Namespace, Name: held.object.Name}
		}
		switch {
		case !taken, held.object == nil && held.Identity.ServiceAccount == account.Name:
			c.best[name] = claim{Subject: c.subject(account, name, terms, object.Annotations[v1alpha1.RenewAnnotation]), object: object}
		case held.object != nil && object.Spec.Selector != nil && held.object.Spec.Selector == nil:
			// Who names one has it, and the one who selects many knows.
		default:
			refuse(message.Claimed(id, "spec", name, winner))
		}
	}
	if !found {
		about.missing = message.ServiceAccountNotFound(id, "spec", object.Spec.ServiceAccount).String()
	}
}

// termsOf are the terms of an object, or of those without one: nil.
func (r *SubjectReconciler) termsOf(object *v1alpha1.MeshCertificate) (*rotation.Terms, []message.Finding) {
	s := r.Settings.Get()
	r.terms.mu.Lock()
	defer r.terms.mu.Unlock()
	if r.terms.settings != s {
		r.terms.settings, r.terms.known = s, map[version]judged{}
	}
	key, spec := version{}, &v1alpha1.MeshCertificateSpec{}
	if object != nil {
		key, spec = version{object.UID, object.Generation}, &object.Spec
	}
	if found, known := r.terms.known[key]; known {
		return found.terms, found.findings
	}
	var found judged
	if object != nil {
		found.findings = validate.MeshCertificate(object, validate.CertificateOptions{Settings: s, Namespace: r.Namespace, Now: r.Clock.Now()})
	}
	if len(found.findings) == 0 {
		terms, _ := s.Terms(spec)
		found.terms = &rotation.Terms{
			Algorithm: pki.KeyAlgorithm(terms.KeyAlgorithm), Lifetime: terms.Lifetime, Policy: terms.Policy,
			Auto: terms.Mode == v1alpha1.RenewalAuto,
		}
		if object != nil {
			found.terms.Group = object.Namespace + "/" + object.Name
			found.terms.Object = rotation.Object{Kind: meshCertificateKind, Namespace: object.Namespace, Name: object.Name}
			if object.Spec.IssuerRef != nil {
				found.terms.Issuer = r.Issuers.NameOf(object.Spec.IssuerRef, object.Namespace)
			}
		}
	}
	r.terms.known[key] = found
	return found.terms, found.findings
}

// termsCache has the terms of each object as it is, so that the same terms are one value.
type termsCache struct {
	mu       sync.Mutex
	settings *settings.Settings
	known    map[version]judged
}

// version tells one spec of an object from all others, those of an earlier object with
// the same name among them.
type version struct {
	uid        types.UID
	generation int64
}

type judged struct {
	terms    *rotation.Terms
	findings []message.Finding
}

func wants(object *v1alpha1.MeshCertificate, account *corev1.ServiceAccount) bool {
	if object.Spec.Selector == nil {
		return object.Spec.ServiceAccount == account.Name
	}
	want := labels.Set{}
	for key, value := range object.Spec.Selector.MatchLabels {
		want[key] = string(value)
	}
	return labels.SelectorFromSet(want).Matches(labels.Set(account.Labels))
}

func (c *claiming) subject(account *corev1.ServiceAccount, name string, terms *rotation.Terms, renew string) rotation.Subject {
	s := rotation.Subject{
		Key:      rotation.Key{Kind: rotation.Secret, Namespace: account.Namespace, Name: name},
		Identity: pki.Identity{TrustDomain: c.settings.TrustDomain, Namespace: account.Namespace, ServiceAccount: account.Name},
		Canary:   slices.Contains(terms.Policy.Canaries, account.Name),
		Served:   name == c.settings.SecretName(account.Name),
		Owner:    rotation.Owner{Object: rotation.Object{Kind: "ServiceAccount", Namespace: account.Namespace, Name: account.Name}, UID: string(account.UID)},
		Terms:    terms,
	}
	if asked := account.Annotations[v1alpha1.RenewAnnotation]; asked != "" || renew != "" {
		s.Forced = asked + "|" + renew
	}
	return s
}

func (c *claiming) subjects() []rotation.Subject {
	all := make([]rotation.Subject, 0, len(c.best))
	for _, name := range slices.Sorted(maps.Keys(c.best)) {
		all = append(all, c.best[name].Subject)
	}
	return all
}

// claims keeps what was told of MeshCertificates, by namespace and name.
type claims struct {
	mu   sync.Mutex
	told map[string]map[string]told
	// changed is called with each object of which something else is told now.
	changed func(rotation.Object)
}

func (c *claims) set(namespace string, now map[string]told) {
	c.mu.Lock()
	before := c.told[namespace]
	if now == nil {
		delete(c.told, namespace)
	} else {
		c.told[namespace] = now
	}
	c.mu.Unlock()
	for name, about := range now {
		if was, known := before[name]; !known || was != about {
			c.changed(rotation.Object{Kind: meshCertificateKind, Namespace: namespace, Name: name})
		}
	}
}

func (c *claims) get(namespace, name string) (told, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	about, known := c.told[namespace][name]
	return about, known
}
