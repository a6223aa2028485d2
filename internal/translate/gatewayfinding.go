package translate

import (
	"slices"

	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// gatewayFindings finds what is wrong with one Gateway, and with what is bound to it, whether or
// not a proxy serves it. It builds what each sort of the Gateway's workloads would be served.
func (b *build) gatewayFindings() {
	name := b.unit.Host
	gateway, tables := b.view.Gateway(name), b.view.GatewayRoutes(name)
	if gateway == nil {
		for _, table := range tables {
			b.find(message.GatewayNotFound(table.Origin.ObjectID, "spec.gateways", name))
		}
		return
	}
	sorts := map[Unit]struct{}{}
	for _, workload := range b.view.GatewayWorkloads() {
		if mesh.Selects(gateway.Selector, workload.Labels) {
			class := gatewayClass(b.view, workload)
			sorts[Unit{Namespace: class.Namespace, Gateways: class.Gateways, Inbound: class.Inbound, Certified: class.MTLS != "", SourceLabels: class.SourceLabels}] = struct{}{}
		}
	}
	if len(sorts) == 0 {
		b.find(message.GatewayUnused(gateway.Origin.ObjectID, "spec.selector"))
		sorts[Unit{Namespace: "", Gateways: name, Certified: true}] = struct{}{}
	}
	for unit := range sorts {
		served := &build{view: b.view, unit: unit, labels: mesh.ParseLabelText(unit.SourceLabels)}
		served.gateway()
		for _, listener := range served.gatewayListeners() {
			for _, served.unit.Host = range listener.routeNames() {
				served.gatewayConfiguration(listener)
			}
		}
		b.findings = append(b.findings, served.findings...)
	}
	for _, table := range tables {
		b.findUnreachable(table)
		for _, host := range table.Hosts {
			if !b.isServed(table, host) {
				b.find(message.HostNotServed(table.Origin.ObjectID, "spec.hosts", host, name))
			}
		}
	}
}

// isServed reports whether any Gateway of a table has a server for one of its hosts, or sidecars
// have it.
func (b *build) isServed(table *mesh.RouteTable, host string) bool {
	if slices.Contains(table.Gateways, mesh.MeshGateway) {
		return true
	}
	takes := func(own mesh.ServerHost) bool {
		_, meet := mesh.Meet(own.Name, host)
		return meet && (own.Namespace == "" || own.Namespace == table.Origin.Namespace)
	}
	return slices.ContainsFunc(table.Gateways, func(name string) bool {
		gateway := b.view.Gateway(name)
		return gateway != nil && slices.ContainsFunc(gateway.Servers, func(s mesh.Server) bool { return slices.ContainsFunc(s.Hosts, takes) })
	})
}
