package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/rotation"
)

// Annotations of certificates' Secrets that are nobody's business but ours.
const (
	issuerAnnotation = v1alpha1.GroupName + "/issuer"
	recordAnnotation = v1alpha1.GroupName + "/renewed"
)

// heldKey is where the cache has, in place of a Secret's data, what may be known of it.
const heldKey = "held"

// stripSecret replaces the data of a certificate's Secret by a summary: the cache has no
// keys. Whether a certificate has expired is the engine's business, by the engine's clock.
func stripSecret(secret *corev1.Secret) {
	if _, stripped := secret.Data[heldKey]; stripped && len(secret.Data) == 1 {
		return
	}
	held := rotation.Held{Issuer: secret.Annotations[issuerAnnotation]}
	identity, err := pki.ParseIdentity(secret.Annotations[v1alpha1.IdentityAnnotation])
	if err == nil {
		held.Summary, err = pki.CheckSecret(secret.Data, identity, secret.Data[pki.RootsFile], time.Time{})
	}
	if err != nil {
		held.Fault = err.Error()
	}
	// A record that cannot be read is none: at worst, a request by hand is followed twice.
	_ = json.Unmarshal([]byte(secret.Annotations[recordAnnotation]), &held.Record)
	// Nothing in it can fail to be encoded.
	encoded, _ := json.Marshal(held)
	secret.Data = map[string][]byte{heldKey: encoded}
	secret.StringData, secret.OwnerReferences, secret.ManagedFields = nil, nil, nil
	secret.Annotations = keep(secret.Annotations, v1alpha1.RenewAnnotation)
}

// SecretReconciler tells the engine what the Secrets with certificates hold.
type SecretReconciler struct {
	Reader client.Reader
	Engine *rotation.Engine
}

// Reconcile implements reconcile.Reconciler.
func (r *SecretReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	key := rotation.Key{Kind: rotation.Secret, Namespace: request.Namespace, Name: request.Name}
	var secret corev1.Secret
	err := r.Reader.Get(ctx, request.NamespacedName, &secret)
	switch {
	case apierrors.IsNotFound(err):
		r.Engine.SetHeld(key, nil)
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	held := &rotation.Held{}
	if err := json.Unmarshal(secret.Data[heldKey], held); err != nil {
		return ctrl.Result{}, fmt.Errorf("read what Secret %s holds: %w", request.NamespacedName, err)
	}
	held.Version = versionOf(&secret)
	held.Asked = secret.Annotations[v1alpha1.RenewAnnotation]
	r.Engine.SetHeld(key, held)
	return ctrl.Result{}, nil
}

// versionOf is the version of an object. Resource versions are numbers that grow (KEP-5504).
func versionOf(object client.Object) rotation.Version {
	number, _ := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	return rotation.Version{UID: string(object.GetUID()), Number: number}
}

// certificateLabel is the value of CertificateLabel for a service account: its name, or the
// hash of one that is too long for a label.
func certificateLabel(serviceAccount string) string {
	if len(validation.IsValidLabelValue(serviceAccount)) == 0 {
		return serviceAccount
	}
	sum := sha256.Sum256([]byte(serviceAccount))
	return hex.EncodeToString(sum[:20])
}
