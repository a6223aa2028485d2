package translate

import (
	"fairlead.dev/fairlead/internal/mesh"
)

// Class is a group of proxies that get the same answer, keyed by exactly the inputs
// that translation reads. In explicit mode a workload's own address is in its
// listeners, so that each is a class of its own.
type Class struct {
	// Namespace decides which short names reach which service.
	Namespace string
	Explicit  bool
	// Workload is set in explicit mode only.
	Workload string
	// Inbound lists the served ports of an intercepted class, "port/protocol" sorted
	// and comma-separated.
	Inbound string
	// SourceLabels are the workload's labels that some route looks at, as
	// mesh.LabelText writes them.
	SourceLabels string
}

// Key returns the class as one word, for logs and as a map key.
func (c Class) Key() string {
	if c.Explicit {
		return "explicit/" + c.Namespace + "/" + c.Workload
	}
	return "intercepted/" + c.Namespace + "/" + c.Inbound + "/" + c.SourceLabels
}

// ClassOf returns the class of a workload's proxy.
func ClassOf(view mesh.View, workload *mesh.Workload) Class {
	class := Class{
		Namespace:    workload.Namespace,
		Explicit:     workload.Explicit,
		SourceLabels: sourceLabels(view, workload),
	}
	if workload.Explicit {
		class.Workload = workload.Name
		return class
	}
	class.Inbound = inboundText(inboundPorts(view, workload))
	return class
}
