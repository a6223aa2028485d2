package mesh_test

import (
	"testing"

	"fairlead.dev/fairlead/internal/mesh"
)

func TestQualifiedHost(t *testing.T) {
	for _, test := range []struct{ name, domain, want string }{
		{"reviews", "", "reviews.prod.svc.cluster.local"},
		{"Reviews", "example.org", "reviews.prod.svc.example.org"},
		{"reviews.other", "", "reviews.other"}, // as Istio: a dot makes a name a full one
		{"Shop.Example.com", "", "shop.example.com"},
		{"192.0.2.7", "", "192.0.2.7"},
		{"2001:DB8::7", "", "2001:db8::7"},
		{"*", "", "*"},
		{"", "", ""},
	} {
		if got := mesh.QualifiedHost(test.name, "prod", test.domain); got != test.want {
			t.Errorf("%q: got %q, want %q", test.name, got, test.want)
		}
	}
}
