package translate

import (
	"net/netip"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"fairlead.dev/fairlead/internal/mesh"
)

// scopeKeys returns the keys by which outbound requests find the routes of a host's port.
func (b *build) scopeKeys(r *hostRoutes, port mesh.ServicePort) []string {
	if b.unit.Explicit {
		return authorities(r, b.unit.Namespace, port.Number)
	}
	if r.service == nil {
		return nil
	}
	var keys []string
	for _, address := range r.service.Addresses {
		if !b.holds(r.service, address, port.Number) {
			continue
		}
		keys = append(keys, addressKey(address, port.Number))
	}
	return keys
}

// addressKey is how Envoy writes the address that a connection was made to.
func addressKey(address netip.Addr, port uint16) string {
	return netip.AddrPortFrom(address, port).String()
}

// authorities returns what a client in the namespace may write as the authority of a
// request: every name of the host, each with its port; without one for port 80.
func authorities(r *hostRoutes, namespace string, port uint16) []string {
	names := []string{r.host}
	switch {
	case r.service != nil && r.service.Name != "":
		names = r.service.AliasesIn(namespace)
	case mesh.IsWildcard(r.host) || shortName(r.view, r.host) != nil:
		return nil
	}
	return keysOf(names, port)
}

// keysOf returns the authorities of names: with the port, and for port 80 without.
func keysOf(names []string, port uint16) []string {
	var keys []string
	for _, name := range names {
		keys = append(keys, RouteName(name, port))
		if port == defaultHTTPPort {
			keys = append(keys, name)
		}
	}
	return keys
}

// shortName returns the service that clients call by the name, if it is one that
// mesh.Service.AliasesIn gives in every namespace. Such a name leads to that service: a
// scope key can be there once only.
func shortName(view mesh.View, name string) *mesh.Service {
	parts := strings.Split(name, ".")
	if len(parts) == 3 && parts[2] == "svc" {
		parts = parts[:2]
	}
	if len(parts) != 2 {
		return nil
	}
	return view.ServiceNamed(mesh.NamespacedName{Namespace: parts[1], Name: parts[0]})
}

// scope leads requests with a key to a route configuration. It is named by its key,
// which must be unique among all scopes of a proxy.
func scope(key, configuration string) *routev3.ScopedRouteConfiguration {
	return &routev3.ScopedRouteConfiguration{
		Name:                   key,
		RouteConfigurationName: configuration,
		Key: &routev3.ScopedRouteConfiguration_Key{
			Fragments: []*routev3.ScopedRouteConfiguration_Key_Fragment{{
				Type: &routev3.ScopedRouteConfiguration_Key_Fragment_StringKey{StringKey: key},
			}},
		},
	}
}
