package mesh

import "strings"

// DefaultClusterDomain is the domain of services' names where none is set.
const DefaultClusterDomain = "cluster.local"

// ServiceHost returns the fully qualified, lower-case host of a service.
func ServiceHost(name, namespace, domain string) string {
	if domain == "" {
		domain = DefaultClusterDomain
	}
	return strings.ToLower(name + "." + namespace + ".svc." + domain)
}

// QualifiedHost returns the host that an object in the namespace means by a name: one
// without a dot is a service of that namespace, any other is taken as it stands. This is
// how Istio reads short names; in particular "reviews.prod" is not completed.
func QualifiedHost(name, namespace, domain string) string {
	if name == "" || strings.ContainsAny(name, ".*:") {
		return strings.ToLower(name)
	}
	return ServiceHost(name, namespace, domain)
}
