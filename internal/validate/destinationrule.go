package validate

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/message"
)

// DestinationRule returns what is wrong with the object, looked at alone; nothing means
// that package convert can use it.
func DestinationRule(object *v1alpha1.DestinationRule, options Options) []message.Finding {
	c := newChecker(kindDestinationRule, object, object.Spec, options)
	spec := field.NewPath("spec")
	c.routedHost(spec.Child("host"), object.Spec.Host)
	c.exportTo(spec.Child("exportTo"), object.Spec.ExportTo)
	c.trafficPolicy(spec.Child("trafficPolicy"), object.Spec.TrafficPolicy)
	if selector := object.Spec.WorkloadSelector; selector != nil {
		at := spec.Child("workloadSelector", "matchLabels")
		if len(selector.MatchLabels) == 0 {
			c.invalid(at, "no label is given", "give at least one, or remove workloadSelector to apply to all")
		}
		labels := map[string]string{}
		for key, value := range selector.MatchLabels {
			labels[key] = string(value)
		}
		c.labels(at, labels)
	}
	first := map[string]*field.Path{}
	for i, subset := range object.Spec.Subsets {
		path := spec.Child("subsets").Index(i)
		c.subsetName(path.Child("name"), subset.Name)
		c.labels(path.Child("labels"), subset.Labels)
		c.trafficPolicy(path.Child("trafficPolicy"), subset.TrafficPolicy)
		if other, found := first[subset.Name]; found {
			c.add(message.Repeated(c.object, path.Child("name").String(), fmt.Sprintf("%q", subset.Name), "the name of "+other.String()))
			continue
		}
		first[subset.Name] = path
	}
	return message.Sort(c.findings)
}
