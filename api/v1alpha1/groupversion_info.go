// Package v1alpha1 holds the kinds of the API group mesh.fairlead.dev, version v1alpha1:
// what a person or a GitOps tool writes to say how the mesh is to behave, and the status
// that Fairlead answers with.
//
// It never holds logic and never imports internal packages: rules across objects live in
// internal/validate, defaults are resolved when the objects are translated. No field has a
// default in the schema, so that an object reads back exactly as it was sent and GitOps
// tools see no drift. Objects come from the API server; the CustomResourceDefinitions in
// config/crd/bases and zz_generated.deepcopy.go are generated from here (`make manifests
// generate`).
//
// The API server prunes fields that the schema does not know. kubectl asks for strict
// validation, so a misspelt field is refused there; other clients lose it silently unless
// they send fieldValidation=Strict.
//
// +kubebuilder:object:generate=true
// +groupName=mesh.fairlead.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Version is the API version of the kinds in this package.
const Version = "v1alpha1"

// Category is the name under which `kubectl get` lists the objects of all our kinds.
const Category = "fairlead"

var (
	// GroupVersion is mesh.fairlead.dev/v1alpha1.
	GroupVersion = schema.GroupVersion{Group: GroupName, Version: Version}

	// SchemeBuilder collects what AddToScheme registers.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme registers the kinds of this package with a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

// addKnownTypes registers every kind; a new kind gets its two lines here.
func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&DestinationRule{}, &DestinationRuleList{},
		&Gateway{}, &GatewayList{},
		&MeshCertificate{}, &MeshCertificateList{},
		&RouteRule{}, &RouteRuleList{},
		&ServiceEntry{}, &ServiceEntryList{},
		&VirtualService{}, &VirtualServiceList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
