package mesh

import (
	"cmp"
	"time"
)

// ObjectID names the object that a value was made from.
type ObjectID struct {
	Kind      string
	Namespace string
	Name      string
}

// String returns "Kind namespace/name", as messages show it.
func (o ObjectID) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Compare orders objects by kind, namespace and name.
func (o ObjectID) Compare(other ObjectID) int {
	return cmp.Or(
		cmp.Compare(o.Kind, other.Kind),
		cmp.Compare(o.Namespace, other.Namespace),
		cmp.Compare(o.Name, other.Name),
	)
}

// Origin says which object, in which generation, a value was made from.
type Origin struct {
	ObjectID
	Generation int64
	// Created orders objects that claim the same host: the oldest wins.
	Created time.Time
}

// Older reports whether o takes precedence over other where both claim the same
// host: by creation time, then by namespace and name.
func (o Origin) Older(other Origin) bool {
	if !o.Created.Equal(other.Created) {
		return o.Created.Before(other.Created)
	}
	return o.Compare(other.ObjectID) < 0
}

// NamespacedName names a namespaced thing within its kind.
type NamespacedName struct {
	Namespace string
	Name      string
}

// Compare orders names by namespace and name.
func (n NamespacedName) Compare(other NamespacedName) int {
	return cmp.Or(cmp.Compare(n.Namespace, other.Namespace), cmp.Compare(n.Name, other.Name))
}

// String returns "namespace/name".
func (n NamespacedName) String() string { return n.Namespace + "/" + n.Name }
