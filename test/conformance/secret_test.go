package conformance

import (
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/mesh"
)

// setSecret puts what a Secret holds into the store, nil where it is gone; and that there is none
// of the name under which authorities of clients are looked for, as who watches it would.
func (s *stage) setSecret(named client.Object, secret *corev1.Secret) {
	name := mesh.NamespacedName{Namespace: named.GetNamespace(), Name: named.GetName()}
	s.store.SetCredential(convert.Credential(name, secret, s.store.Credential(name)))
	name.Name += "-cacert"
	s.store.SetCredential(convert.Credential(name, nil, nil))
}
