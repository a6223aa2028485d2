package translate

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"fairlead.dev/fairlead/internal/mesh"
)

// applyHeaders changes the headers of all requests and responses of a route. Envoy
// removes before it adds, and adds in the order given.
func applyHeaders(route *routev3.Route, operations mesh.HeaderOperations) {
	route.RequestHeadersToAdd = headersToAdd(operations.Request)
	route.RequestHeadersToRemove = operations.Request.Remove
	route.ResponseHeadersToAdd = headersToAdd(operations.Response)
	route.ResponseHeadersToRemove = operations.Response.Remove
}

func headersToAdd(change mesh.HeaderChange) []*corev3.HeaderValueOption {
	var options []*corev3.HeaderValueOption
	add := func(header mesh.HeaderValue, action corev3.HeaderValueOption_HeaderAppendAction) {
		options = append(options, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: header.Name, Value: header.Value},
			AppendAction: action,
			// Without this Envoy would drop a header that is set to nothing.
			KeepEmptyValue: header.Value == "",
		})
	}
	for _, header := range change.Set {
		add(header, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	}
	for _, header := range change.Add {
		add(header, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)
	}
	return options
}
