package convert

import (
	"fmt"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/validate"
)

// Policy returns what the object says about the traffic to its host, and what is wrong
// with it. There is no policy where a finding of topic Acceptance is among them.
func Policy(object *v1alpha1.DestinationRule, options Options) (*mesh.Policy, []message.Finding) {
	findings := validate.DestinationRule(object, options)
	if refused(findings) {
		return nil, findings
	}
	policy := &mesh.Policy{
		Origin: origin(KindDestinationRule, object),
		Host:   mesh.QualifiedHost(object.Spec.Host, object.Namespace, options.ClusterDomain),
	}
	for i, subset := range object.Spec.Subsets {
		policy.Subsets = append(policy.Subsets, mesh.Subset{
			Name: subset.Name, Path: fmt.Sprintf("spec.subsets[%d]", i), Labels: subset.Labels,
		})
	}
	return policy, findings
}
