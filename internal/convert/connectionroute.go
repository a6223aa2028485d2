package convert

import (
	"strings"

	"fairlead.dev/fairlead/internal/mesh"
)

// gateways completes the names of gateways; the word for all sidecars stays.
func (c names) gateways(from []string) []string {
	var to []string
	for _, gateway := range from {
		namespace, name, both := strings.Cut(gateway, "/")
		switch {
		case gateway == mesh.MeshGateway:
		case !both:
			gateway = c.namespace + "/" + gateway
		case namespace == ".":
			gateway = c.namespace + "/" + name
		}
		to = append(to, gateway)
	}
	return to
}
