package translate_test

import (
	"net/netip"
	"slices"
	"testing"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/translate"
)

// checkValid holds a resource against the limits that Envoy's API gives its fields.
func checkValid(tb testing.TB, resource translate.Resource) {
	tb.Helper()
	if resource.Name == "" {
		tb.Errorf("a resource of type %s has no name", resource.TypeURL)
	}
	message, ok := resource.Message.(interface{ ValidateAll() error })
	if !ok {
		tb.Fatalf("%s cannot be validated", resource.TypeURL)
	}
	if err := message.ValidateAll(); err != nil {
		tb.Errorf("%s %s: %v", resource.TypeURL, resource.Name, err)
	}
}

func TestEveryCaseIsValid(t *testing.T) {
	t.Parallel()
	for _, path := range inputs(t) {
		resources, _ := readCase(t, path).translated()
		for _, resource := range resources {
			checkValid(t, resource)
		}
		checkWhole(t, resources)
	}
}

func TestTheRangeOfServicesIsNoEntrys(t *testing.T) {
	t.Parallel()
	c, services := readCase(t, "testdata/intercepted-external.in.yaml"), netip.MustParsePrefix("198.51.100.0/24")
	c.store.SetServiceRanges([]netip.Prefix{services})
	resources, findings := c.translated()
	checkWhole(t, resources)
	want := message.HostTaken(
		mesh.ObjectID{Kind: "ServiceEntry", Namespace: "default", Name: "ranges"}, "spec.addresses", services.String(),
		mesh.ObjectID{Kind: "ServiceCIDR", Name: services.String()})
	if !slices.Contains(findings, want) {
		t.Errorf("got %v, want %v", findings, want)
	}
}
