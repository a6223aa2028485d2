package controllers

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/pki/rollover"
	"fairlead.dev/fairlead/internal/rotation"
)

// trafficConfigMap has what was learnt of the traffic of each namespace, for a new leader.
const trafficConfigMap = "fairlead-traffic"

// certificateStore writes for the rotation engine. Secrets are not read from the cache, which
// has no keys; a Secret that is not ours is never written: every change names the UID of one
// that is.
type certificateStore struct {
	client    client.Client
	live      client.Reader
	authority *Authority
	namespace string
	root      func(context.Context, rollover.State) error
}

// Write implements rotation.Store.
func (s *certificateStore) Write(ctx context.Context, subject *rotation.Subject, known *rotation.Held, files map[string][]byte, record rotation.Record) (rotation.Version, error) {
	recorded, err := json.Marshal(record)
	if err != nil {
		return rotation.Version{}, err
	}
	about := metav1.ObjectMeta{
		Namespace: subject.Key.Namespace, Name: subject.Key.Name,
		Labels: map[string]string{v1alpha1.CertificateLabel: certificateLabel(subject.Identity.ServiceAccount)},
		Annotations: map[string]string{
			v1alpha1.IdentityAnnotation: subject.Identity.String(),
			issuerAnnotation:            subject.Issuer,
			recordAnnotation:            string(recorded),
		},
		OwnerReferences: ownedBy(subject.Owner),
	}
	if known == nil {
		secret := &corev1.Secret{ObjectMeta: about, Type: corev1.SecretTypeOpaque, Data: files}
		err := s.client.Create(ctx, secret, client.FieldOwner(FieldManager))
		if err == nil || !apierrors.IsAlreadyExists(err) {
			return versionOf(secret), withoutObject("create", subject.Key, err)
		}
		if known, err = s.find(ctx, subject.Key); err != nil {
			return rotation.Version{}, err
		}
	}
	return s.patch(ctx, subject.Key, map[string]any{
		"metadata": map[string]any{
			"uid": known.UID, "labels": about.Labels, "annotations": about.Annotations, "ownerReferences": about.OwnerReferences,
		},
		"data": files,
	})
}

// WriteRoots implements rotation.Store.
func (s *certificateStore) WriteRoots(ctx context.Context, key rotation.Key, known *rotation.Held, roots []byte) (rotation.Version, error) {
	return s.patch(ctx, key, map[string]any{
		"metadata": map[string]any{"uid": known.UID}, "data": map[string][]byte{pki.RootsFile: roots},
	})
}

// patch changes a Secret that has the UID that the change names.
func (s *certificateStore) patch(ctx context.Context, key rotation.Key, change map[string]any) (rotation.Version, error) {
	body, err := json.Marshal(change)
	if err != nil {
		return rotation.Version{}, err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	err = s.client.Patch(ctx, secret, client.RawPatch(types.MergePatchType, body), client.FieldOwner(FieldManager))
	return versionOf(secret), withoutObject("change", key, err)
}

// find returns a Secret of ours that the cache has not seen yet.
func (s *certificateStore) find(ctx context.Context, key rotation.Key) (*rotation.Held, error) {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := s.live.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: key.Name}, secret); err != nil {
		return nil, fmt.Errorf("look at %s: %w", key, err)
	}
	if _, ours := secret.Labels[v1alpha1.CertificateLabel]; !ours {
		return nil, rotation.ErrForeign
	}
	return &rotation.Held{Version: versionOf(secret)}, nil
}

// Delete implements rotation.Store.
func (s *certificateStore) Delete(ctx context.Context, key rotation.Key, known *rotation.Held) error {
	uid, version := types.UID(known.UID), fmt.Sprint(known.Number)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	err := s.client.Delete(ctx, secret, client.Preconditions{UID: &uid, ResourceVersion: &version})
	return withoutObject("delete", key, client.IgnoreNotFound(err))
}

// WriteAuthority implements rotation.Store.
func (s *certificateStore) WriteAuthority(ctx context.Context, before, after *pki.Authority) error {
	return s.authority.Replace(ctx, before, after)
}

// WriteRoot implements rotation.Store.
func (s *certificateStore) WriteRoot(ctx context.Context, state rollover.State) error {
	return s.root(ctx, state)
}

// WriteTraffic implements rotation.Store.
func (s *certificateStore) WriteTraffic(ctx context.Context, curves map[string]string) error {
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: trafficConfigMap}, Data: curves}
	err := s.client.Update(ctx, kept, client.FieldOwner(FieldManager))
	if apierrors.IsNotFound(err) {
		err = s.client.Create(ctx, kept, client.FieldOwner(FieldManager))
	}
	return err
}

// withoutObject names the Secret in an error, and passes on only what kind of error the API
// server gave: its words may repeat what was sent.
func withoutObject(verb string, key rotation.Key, err error) error {
	if err == nil {
		return nil
	}
	if reason := apierrors.ReasonForError(err); reason == metav1.StatusReasonInvalid || reason == metav1.StatusReasonBadRequest {
		return fmt.Errorf("%s %s: the API server calls it %s: see whether it is immutable", verb, key, reason)
	}
	return fmt.Errorf("%s %s: %w", verb, key, err)
}

func ownedBy(owner rotation.Owner) []metav1.OwnerReference {
	if owner.UID == "" {
		return nil
	}
	reference := metav1.OwnerReference{APIVersion: "v1", Kind: owner.Kind, Name: owner.Name, UID: types.UID(owner.UID)}
	if owner.Kind == meshCertificateKind {
		reference.APIVersion = v1alpha1.GroupVersion.String()
	}
	return []metav1.OwnerReference{reference}
}
