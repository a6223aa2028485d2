package convert_test

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/validate"
)

// That nothing is lost is tried by going back: from a mesh value to a spec, and comparing
// that to the spec that the value was made from, with its defaults filled in.

// restore writes a route table as the spec that it says.
func restore(table *mesh.RouteTable) v1alpha1.VirtualServiceSpec {
	spec := v1alpha1.VirtualServiceSpec{Hosts: table.Hosts, Gateways: table.Gateways}
	for _, route := range table.TLS {
		restored := v1alpha1.TLSRoute{Route: restoreShares(route.Destinations)}
		for _, match := range route.Matches {
			restored.Match = append(restored.Match, v1alpha1.TLSMatchAttributes{
				SNIHosts: match.SNI, DestinationSubnets: restorePrefixes(match.Destinations), Port: int32(match.Port),
				SourceLabels: match.SourceLabels, SourceNamespace: match.SourceNamespace, Gateways: match.Gateways,
			})
		}
		spec.TLS = append(spec.TLS, restored)
	}
	for _, route := range table.TCP {
		restored := v1alpha1.TCPRoute{Route: restoreShares(route.Destinations)}
		for _, match := range route.Matches {
			restored.Match = append(restored.Match, v1alpha1.L4MatchAttributes{
				DestinationSubnets: restorePrefixes(match.Destinations), Port: int32(match.Port),
				SourceSubnet: strings.Join(restorePrefixes(match.Sources), ""),
				SourceLabels: match.SourceLabels, SourceNamespace: match.SourceNamespace, Gateways: match.Gateways,
			})
		}
		spec.TCP = append(spec.TCP, restored)
	}
	for _, route := range table.HTTP {
		spec.HTTP = append(spec.HTTP, restoreRoute(&route))
	}
	return spec
}

func restoreShares(from []mesh.Destination) []v1alpha1.RouteDestination {
	var to []v1alpha1.RouteDestination
	for i := range from {
		to = append(to, v1alpha1.RouteDestination{Destination: restoreDestination(&from[i]), Weight: new(int32(from[i].Weight))})
	}
	return to
}

func restorePrefixes(from []netip.Prefix) []string {
	var to []string
	for _, prefix := range from {
		to = append(to, prefix.String())
	}
	return to
}

func restoreRoute(from *mesh.HTTPRoute) v1alpha1.HTTPRoute {
	to := v1alpha1.HTTPRoute{Name: from.Name, Timeout: restoreDuration(from.Timeout), Headers: restoreHeaders(from.Headers)}
	if from.Delegate != nil {
		to.Delegate = &v1alpha1.Delegate{Name: from.Delegate.Name, Namespace: from.Delegate.Namespace}
	}
	if fault := from.Fault; fault != nil {
		to.Fault = &v1alpha1.HTTPFaultInjection{}
		if fault.Delay != nil {
			to.Fault.Delay = &v1alpha1.HTTPFaultDelay{Percentage: restorePercent(fault.Delay.Percent), FixedDelay: restoreDuration(fault.Delay.For)}
		}
		if fault.Abort != nil {
			to.Fault.Abort = &v1alpha1.HTTPFaultAbort{Percentage: restorePercent(fault.Abort.Percent), HTTPStatus: int32(fault.Abort.HTTPStatus)}
			if fault.Abort.HTTPStatus == 0 {
				to.Fault.Abort.GRPCStatus = strconv.Itoa(int(fault.Abort.GRPCStatus))
			}
		}
	}
	for _, mirror := range from.Mirrors {
		to.Mirrors = append(to.Mirrors, v1alpha1.HTTPMirrorPolicy{
			Destination: restoreDestination(&mirror.Destination), Percentage: restorePercent(mirror.Percent),
		})
	}
	if cors := from.CORS; cors != nil {
		to.CORSPolicy = &v1alpha1.CORSPolicy{
			AllowMethods: cors.Methods, AllowHeaders: cors.Headers, ExposeHeaders: cors.ExposeHeaders,
			MaxAge: restoreDuration(cors.MaxAge), AllowCredentials: cors.Credentials,
		}
		for _, origin := range cors.Origins {
			to.CORSPolicy.AllowOrigins = append(to.CORSPolicy.AllowOrigins, *restoreMatch(&origin))
		}
		if cors.IgnoreUnmatched {
			to.CORSPolicy.UnmatchedPreflights = "IGNORE"
		}
	}
	for _, match := range from.Matches {
		to.Match = append(to.Match, v1alpha1.HTTPMatchRequest{
			Name:            match.Name,
			URI:             restoreMatch(match.URI),
			Scheme:          restoreMatch(match.Scheme),
			Method:          restoreMatch(match.Method),
			Authority:       restoreMatch(match.Authority),
			Headers:         restoreMatches(match.Headers),
			WithoutHeaders:  restoreMatches(match.WithoutHeaders),
			QueryParams:     restoreMatches(match.QueryParams),
			IgnoreURICase:   match.IgnoreURICase,
			Port:            int32(match.Port),
			SourceLabels:    match.SourceLabels,
			SourceNamespace: match.SourceNamespace,
			Gateways:        match.Gateways,
			StatPrefix:      match.StatPrefix,
		})
	}
	for _, destination := range from.Destinations {
		to.Route = append(to.Route, v1alpha1.HTTPRouteDestination{
			Destination: restoreDestination(&destination),
			Weight:      new(int32(destination.Weight)),
			Headers:     restoreHeaders(destination.Headers),
		})
	}
	if redirect := from.Redirect; redirect != nil {
		to.Redirect = &v1alpha1.HTTPRedirect{
			URI: redirect.URI, PrefixRewrite: redirect.PrefixRewrite, Authority: redirect.Authority, Scheme: redirect.Scheme,
			Port: int32(redirect.Port), RedirectCode: int32(redirect.Code),
		}
		switch {
		case redirect.PortFromProtocol:
			to.Redirect.DerivePort = v1alpha1.FromProtocolDefault
		case redirect.PortFromRequest:
			to.Redirect.DerivePort = v1alpha1.FromRequestPort
		}
	}
	if response := from.DirectResponse; response != nil {
		to.DirectResponse = &v1alpha1.HTTPDirectResponse{Status: int32(response.Status), Body: &v1alpha1.HTTPBody{Bytes: response.Body}}
	}
	if rewrite := from.Rewrite; rewrite != nil {
		to.Rewrite = &v1alpha1.HTTPRewrite{URI: rewrite.URI, Authority: rewrite.Authority}
		if rewrite.URIRegex != nil {
			to.Rewrite.URIRegexRewrite = &v1alpha1.RegexRewrite{Match: rewrite.URIRegex.Match, Rewrite: rewrite.URIRegex.Substitution}
		}
	}
	if retries := from.Retries; retries != nil {
		to.Retries = &v1alpha1.HTTPRetry{
			Attempts:                 new(int32(retries.Attempts)),
			PerTryTimeout:            restoreDuration(retries.PerTry),
			RetryOn:                  retries.On,
			RetryRemoteLocalities:    &retries.RemoteLocalities,
			RetryIgnorePreviousHosts: retries.IgnorePreviousHosts,
			Backoff:                  restoreDuration(retries.Backoff),
		}
	}
	return to
}

func restoreDestination(from *mesh.Destination) v1alpha1.Destination {
	to := v1alpha1.Destination{Host: from.Host, Subset: from.Subset, Labels: from.Labels}
	if from.Port != 0 {
		to.Port = &v1alpha1.PortSelector{Number: int32(from.Port)}
	}
	return to
}

func restorePercent(from float64) *v1alpha1.Percent {
	return &v1alpha1.Percent{Value: v1alpha1.Double(from)}
}

func restoreMatch(from *mesh.StringMatch) *v1alpha1.StringMatch {
	switch {
	case from == nil:
		return nil
	case from.Kind == mesh.Exact:
		return &v1alpha1.StringMatch{Exact: &from.Value}
	case from.Kind == mesh.Prefix:
		return &v1alpha1.StringMatch{Prefix: from.Value}
	}
	return &v1alpha1.StringMatch{Regex: from.Value}
}

func restoreMatches(from []mesh.NamedMatch) map[string]v1alpha1.StringMatch {
	to := map[string]v1alpha1.StringMatch{}
	for _, match := range from {
		if value := restoreMatch(match.Value); value != nil {
			to[match.Name] = *value
		} else {
			to[match.Name] = v1alpha1.StringMatch{}
		}
	}
	return to
}

func restoreHeaders(from mesh.HeaderOperations) *v1alpha1.Headers {
	change := func(from mesh.HeaderChange) *v1alpha1.HeaderOperations {
		to := &v1alpha1.HeaderOperations{Set: map[string]string{}, Add: map[string]string{}, Remove: from.Remove}
		for _, header := range from.Set {
			to.Set[header.Name] = header.Value
		}
		for _, header := range from.Add {
			to.Add[header.Name] = header.Value
		}
		return to
	}
	to := &v1alpha1.Headers{Request: change(from.Request), Response: change(from.Response)}
	if from.Authority != "" {
		to.Request.Set["host"] = from.Authority
	}
	return to
}

func restoreDuration(from time.Duration) *v1alpha1.Duration {
	if from == 0 {
		return nil
	}
	return new(v1alpha1.Duration(from.String()))
}

// filled is the spec with defaults filled in, names completed, and one spelling for what
// may be spelt in several ways. It is written apart from package convert, on purpose.
func filled(namespace string, given v1alpha1.VirtualServiceSpec) v1alpha1.VirtualServiceSpec {
	spec := *given.DeepCopy()
	full := func(host string) string {
		if strings.Contains(host, ".") || strings.Contains(host, ":") {
			return strings.ToLower(host)
		}
		return strings.ToLower(host + "." + namespace + ".svc.cluster.local")
	}
	for i := range spec.Hosts {
		spec.Hosts[i] = full(spec.Hosts[i])
	}
	spec.ExportTo = nil // only what unset means too
	gateways := func(names []string) {
		for i, name := range names {
			own, short := strings.CutPrefix(name, "./")
			if name != "mesh" && (short || !strings.Contains(name, "/")) {
				names[i] = namespace + "/" + own
			}
		}
	}
	gateways(spec.Gateways)
	prefixes := func(texts []string) {
		for i, text := range texts {
			if address, err := netip.ParseAddr(text); err == nil {
				texts[i] = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()).String()
			} else {
				texts[i] = netip.MustParsePrefix(text).Masked().String()
			}
		}
	}
	shares := func(routes []v1alpha1.RouteDestination) {
		for i := range routes {
			routes[i].Destination.Host = full(routes[i].Destination.Host)
			routes[i].Weight = filledWeight(routes[i].Weight, len(routes))
		}
	}
	for i := range spec.TLS {
		shares(spec.TLS[i].Route)
		for j := range spec.TLS[i].Match {
			match := &spec.TLS[i].Match[j]
			gateways(match.Gateways)
			prefixes(match.DestinationSubnets)
			for k := range match.SNIHosts {
				match.SNIHosts[k] = strings.ToLower(match.SNIHosts[k])
			}
		}
	}
	for i := range spec.TCP {
		shares(spec.TCP[i].Route)
		for j := range spec.TCP[i].Match {
			match := &spec.TCP[i].Match[j]
			gateways(match.Gateways)
			prefixes(match.DestinationSubnets)
			if match.SourceSubnet != "" {
				source := []string{match.SourceSubnet}
				prefixes(source)
				match.SourceSubnet = source[0]
			}
		}
	}
	for i := range spec.HTTP {
		route := &spec.HTTP[i]
		route.Timeout, route.Headers = filledDuration(route.Timeout), filledHeaders(route.Headers)
		for j := range route.Match {
			match := &route.Match[j]
			gateways(match.Gateways)
			match.Headers, match.WithoutHeaders = lowerKeys(match.Headers), lowerKeys(match.WithoutHeaders)
		}
		for j := range route.Route {
			destination := &route.Route[j]
			destination.Destination.Host = full(destination.Destination.Host)
			destination.Headers = filledHeaders(destination.Headers)
			destination.Weight = filledWeight(destination.Weight, len(route.Route))
		}
		fillActions(namespace, route, full)
		if route.Redirect != nil {
			route.Redirect.RedirectCode = cmp.Or(route.Redirect.RedirectCode, 301)
		}
		if route.DirectResponse != nil {
			body := route.DirectResponse.Body
			switch {
			case body == nil:
				body = &v1alpha1.HTTPBody{}
			case body.String != nil:
				body = &v1alpha1.HTTPBody{Bytes: []byte(*body.String)}
			}
			route.DirectResponse.Body = body
		}
		if retries := route.Retries; retries != nil {
			retries.PerTryTimeout, retries.Backoff = filledDuration(retries.PerTryTimeout), filledDuration(retries.Backoff)
			retries.RetryOn = strings.Join(strings.FieldsFunc(retries.RetryOn, func(r rune) bool { return r == ' ' || r == ',' }), ",")
			retries.Attempts = cmp.Or(retries.Attempts, new(int32(2)))
			retries.RetryRemoteLocalities = cmp.Or(retries.RetryRemoteLocalities, new(false))
		}
	}
	return spec
}

// fillActions puts older spellings into the newer ones.
func fillActions(namespace string, route *v1alpha1.HTTPRoute, full func(string) string) {
	if route.Delegate != nil {
		route.Delegate.Namespace = cmp.Or(route.Delegate.Namespace, namespace)
	}
	percent := func(exact *v1alpha1.Percent, whole ...*int32) *v1alpha1.Percent {
		if number := cmp.Or(whole...); exact == nil && number != nil {
			exact = &v1alpha1.Percent{Value: v1alpha1.Double(*number)}
		}
		return cmp.Or(exact, &v1alpha1.Percent{Value: 100})
	}
	if fault := route.Fault; fault != nil {
		if delay := fault.Delay; delay != nil {
			delay.Percentage, delay.Percent, delay.FixedDelay = percent(delay.Percentage, delay.Percent), nil, filledDuration(delay.FixedDelay)
		}
		if abort := fault.Abort; abort != nil {
			abort.Percentage = percent(abort.Percentage)
			if number, found := validate.GRPCStatus(abort.GRPCStatus); found {
				abort.GRPCStatus = strconv.Itoa(int(number))
			}
		}
	}
	if route.Mirror != nil {
		route.Mirrors = []v1alpha1.HTTPMirrorPolicy{{
			Destination: *route.Mirror, Percentage: percent(route.MirrorPercentage, route.MirrorPercent, route.MirrorPercentUnderscore),
		}}
	}
	route.Mirror, route.MirrorPercentage, route.MirrorPercent, route.MirrorPercentUnderscore = nil, nil, nil, nil
	route.Mirrors = slices.DeleteFunc(route.Mirrors, func(mirror v1alpha1.HTTPMirrorPolicy) bool { return percent(mirror.Percentage).Value == 0 })
	for i := range route.Mirrors {
		mirror := &route.Mirrors[i]
		mirror.Destination.Host, mirror.Percentage = full(mirror.Destination.Host), percent(mirror.Percentage)
	}
	if cors := route.CORSPolicy; cors != nil {
		if len(cors.AllowOrigins) == 0 {
			for _, origin := range cors.AllowOrigin {
				cors.AllowOrigins = append(cors.AllowOrigins, v1alpha1.StringMatch{Exact: &origin})
			}
		}
		cors.AllowOrigin, cors.MaxAge = nil, filledDuration(cors.MaxAge)
		if cors.UnmatchedPreflights != "IGNORE" {
			cors.UnmatchedPreflights = ""
		}
	}
}

func filledWeight(given *int32, among int) *int32 {
	switch {
	case given != nil:
		return given
	case among == 1:
		return new(int32(1))
	}
	return new(int32(0))
}

func filledDuration(given *v1alpha1.Duration) *v1alpha1.Duration {
	if given == nil {
		return nil
	}
	length, err := given.Parse()
	if err != nil {
		return given
	}
	return restoreDuration(length)
}

func filledHeaders(given *v1alpha1.Headers) *v1alpha1.Headers {
	if given == nil {
		given = &v1alpha1.Headers{}
	}
	filled := func(given *v1alpha1.HeaderOperations) *v1alpha1.HeaderOperations {
		if given == nil {
			given = &v1alpha1.HeaderOperations{}
		}
		removed := map[string]string{}
		for _, name := range given.Remove {
			removed[name] = ""
		}
		return &v1alpha1.HeaderOperations{
			Set: lowerKeys(given.Set), Add: lowerKeys(given.Add), Remove: slices.Sorted(maps.Keys(lowerKeys(removed))),
		}
	}
	return &v1alpha1.Headers{Request: filled(given.Request), Response: filled(given.Response)}
}

func lowerKeys[V any](given map[string]V) map[string]V {
	lower := map[string]V{}
	for key, value := range given {
		lower[strings.ToLower(key)] = value
	}
	return lower
}
