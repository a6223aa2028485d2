package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/hold"
	"fairlead.dev/fairlead/internal/mesh"
)

// What is to outlive a restart of the specs of our objects is in ControllerRevisions: one for
// each generation that is worth it, owned by the object and deleted with it. Their data cannot be
// changed. The cache has them without it: their metadata say all but the spec itself, and that is
// read where it is needed, which is seldom.

// revisionOwnerField indexes ControllerRevisions by the UID of the object that they are of.
const revisionOwnerField = "owner"

// AddRevisions registers ControllerRevisions, and nothing else of their group.
func AddRevisions(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(appsv1.SchemeGroupVersion, &appsv1.ControllerRevision{}, &appsv1.ControllerRevisionList{})
	metav1.AddToGroupVersion(scheme, appsv1.SchemeGroupVersion)
	return nil
}

// revisions are those that Fairlead wrote.
var revisions = labels.NewSelector().Add(must(labels.NewRequirement(v1alpha1.RevisionLabel, selection.Exists, nil)))

// stripRevision keeps all but the data.
func stripRevision(revision *appsv1.ControllerRevision) {
	revision.ManagedFields = nil
	revision.Data = runtime.RawExtension{}
}

// ownRevisions has an object read again when what is written down of it changes: by that a
// replica learns what another one found.
func ownRevisions(b *builder.Builder) {
	b.Owns(&appsv1.ControllerRevision{})
}

// revisionOwner returns the UID that a ControllerRevision is indexed by.
func revisionOwner(object client.Object) []string {
	owner := metav1.GetControllerOf(object)
	if owner == nil {
		return nil
	}
	return []string{string(owner.UID)}
}

// recordsOf returns what is written down of an object, without its contents.
func (s *specs) recordsOf(ctx context.Context, object client.Object) ([]hold.Record, error) {
	var list appsv1.ControllerRevisionList
	err := s.reader.List(ctx, &list, client.InNamespace(object.GetNamespace()), client.MatchingFields{revisionOwnerField: string(object.GetUID())})
	if err != nil {
		return nil, err
	}
	var records []hold.Record
	for i := range list.Items {
		item := &list.Items[i]
		generation, err := strconv.ParseInt(item.Labels[v1alpha1.GenerationLabel], 10, 64)
		record := hold.Record{Generation: generation, State: hold.State(item.Labels[v1alpha1.RevisionLabel])}
		if err == nil && item.DeletionTimestamp.IsZero() {
			records = append(records, record)
		}
	}
	return records, nil
}

// revisionData is the data of a ControllerRevision: the spec of what was taken, the refusal of
// what was not.
type revisionData struct {
	Spec      json.RawMessage    `json:"spec,omitempty"`
	Rejection delivery.Rejection `json:"rejection,omitzero"`
}

// contents reads what a record is of.
func (s *specs) contents(ctx context.Context, id mesh.ObjectID, object client.Object, record hold.Record) (revisionData, error) {
	var revision appsv1.ControllerRevision
	var data revisionData
	name := revisionName(id, object.GetUID(), record)
	if err := s.direct.Get(ctx, client.ObjectKey{Namespace: id.Namespace, Name: name}, &revision); err != nil {
		return data, err
	}
	if err := json.Unmarshal(revision.Data.Raw, &data); err != nil {
		return data, fmt.Errorf("ControllerRevision %s/%s: %w: delete it", id.Namespace, name, err)
	}
	return data, nil
}

// revisionName is the same for whoever writes a record, so that two write one.
func revisionName(id mesh.ObjectID, uid types.UID, record hold.Record) string {
	return fmt.Sprintf("%s-%s-%d-%s", strings.ToLower(id.Kind), uid, record.Generation, record.State)
}

// revisionOf returns the ControllerRevision of a record.
func revisionOf(work hold.Work, record hold.Record) (*appsv1.ControllerRevision, error) {
	var data revisionData
	if record.State == hold.Refused {
		data.Rejection = *record.Rejection
	} else {
		whole, err := json.Marshal(record.Spec.Object)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(whole, &data); err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: work.Object.Namespace, Name: revisionName(work.Object, work.UID, record),
			Labels: map[string]string{
				v1alpha1.RevisionLabel:   string(record.State),
				v1alpha1.GenerationLabel: strconv.FormatInt(record.Generation, 10),
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: work.Object.Kind, Name: work.Object.Name, UID: work.UID, Controller: new(true),
			}},
		},
		Revision: record.Generation,
		Data:     runtime.RawExtension{Raw: raw},
	}, nil
}
