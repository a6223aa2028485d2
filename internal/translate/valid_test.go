package translate_test

import (
	"testing"

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
