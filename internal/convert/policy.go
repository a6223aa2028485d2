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
	policy.TLS = tlsRules("", "spec.trafficPolicy", object.Spec.TrafficPolicy)
	for i, subset := range object.Spec.Subsets {
		path := fmt.Sprintf("spec.subsets[%d]", i)
		policy.Subsets = append(policy.Subsets, mesh.Subset{Name: subset.Name, Path: path, Labels: subset.Labels})
		policy.TLS = append(policy.TLS, tlsRules(subset.Name, path+".trafficPolicy", subset.TrafficPolicy)...)
	}
	return policy, findings
}

// tlsRules returns what a traffic policy says about TLS. One for a port has nothing from the
// policy around it: where it does not name TLS, that is a rule too.
func tlsRules(subset, path string, policy *v1alpha1.TrafficPolicy) []mesh.TLSRule {
	if policy == nil {
		return nil
	}
	var rules []mesh.TLSRule
	if policy.TLS != nil {
		rules = append(rules, mesh.TLSRule{Subset: subset, Mode: clientTLS(policy.TLS), Path: path + ".tls.mode"})
	}
	for i, port := range policy.PortLevelSettings {
		rules = append(rules, mesh.TLSRule{
			Subset: subset, Port: uint16(port.Port.Number), Mode: clientTLS(port.TLS),
			Path: fmt.Sprintf("%s.portLevelSettings[%d].tls.mode", path, i),
		})
	}
	return rules
}

func clientTLS(settings *v1alpha1.ClientTLSSettings) mesh.ClientTLS {
	switch {
	case settings == nil:
		return mesh.TLSAuto
	case settings.Mode == v1alpha1.TLSIstioMutual, settings.Mode == v1alpha1.TLSMeshMutual:
		return mesh.TLSMutual
	}
	return mesh.TLSDisable // when the mode is unset, too
}
