package controllers

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/hold"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/status"
)

// meshObject is an object of one of our kinds.
type meshObject interface {
	client.Object
	GetStatus() *v1alpha1.Status
}

// specs is what the reconcilers of all our own kinds work with. Most events only tell that a
// status was written; the holder sees to it that they make nothing be translated again.
type specs struct {
	table  *status.Table
	holder *hold.Holder
	// reader reads the cache, direct the API server.
	reader, direct client.Reader
}

// observe notes an object in the status table. It comes before the spec is stored, so
// that whatever is found and delivered of the spec comes after it.
func (s *specs) observe(id mesh.ObjectID, object meshObject, findings []message.Finding) {
	s.table.Observe(status.Observation{
		Object:          id,
		UID:             object.GetUID(),
		Generation:      object.GetGeneration(),
		ResourceVersion: object.GetResourceVersion(),
		Findings:        findings,
		Existing:        *object.GetStatus().DeepCopy(),
	})
}
