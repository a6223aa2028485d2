package convert

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

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
		Origin:   origin(KindDestinationRule, object),
		ExportTo: exportTo(object.Spec.ExportTo, object.Namespace),
		Host:     mesh.QualifiedHost(object.Spec.Host, object.Namespace, options.ClusterDomain),
		Traffic:  traffic("spec.trafficPolicy", object.Spec.TrafficPolicy),
	}
	if selector := object.Spec.WorkloadSelector; selector != nil {
		policy.Selector = map[string]string{}
		for key, value := range selector.MatchLabels {
			policy.Selector[key] = string(value)
		}
		// It selects in the object's own namespace only.
		sees := mesh.Visible(policy.ExportTo, object.Namespace)
		policy.ExportTo = []string{object.Namespace}
		if !sees {
			policy.ExportTo = []string{mesh.Nowhere}
		}
	}
	for i, subset := range object.Spec.Subsets {
		path := fmt.Sprintf("spec.subsets[%d]", i)
		policy.Subsets = append(policy.Subsets, mesh.Subset{
			Name: subset.Name, Path: path, Labels: subset.Labels, Traffic: traffic(path+".trafficPolicy", subset.TrafficPolicy),
		})
	}
	return policy, findings
}

func traffic(path string, from *v1alpha1.TrafficPolicy) mesh.Traffic {
	if from == nil {
		return mesh.Traffic{}
	}
	to := mesh.Traffic{
		LoadBalancer:  loadBalancer(from.LoadBalancer),
		Connections:   connections(from.ConnectionPool),
		Outliers:      outliers(from.OutlierDetection),
		TLS:           clientTLS(path+".tls", from.TLS),
		HealthCheck:   healthCheck(path+".activeHealthCheck", from.ActiveHealthCheck),
		ProxyProtocol: proxyProtocol(from.ProxyProtocol),
	}
	if tunnel := from.Tunnel; tunnel != nil {
		to.Tunnel = &mesh.Tunnel{Place: path + ".tunnel", Target: hostPort(tunnel.TargetHost, tunnel.TargetPort), Post: tunnel.Protocol == "POST"}
	}
	if budget := from.RetryBudget; budget != nil {
		to.RetryBudget = &mesh.RetryBudget{
			Percent:        float64(orElse(budget.Percent, 20)),
			MinConcurrency: uint32(cmp.Or(budget.MinRetryConcurrency, 3)),
			Interval:       orElse(orZero(budget.BudgetInterval), 0),
		}
	}
	for i, port := range from.PortLevelSettings {
		at := fmt.Sprintf("%s.portLevelSettings[%d]", path, i)
		to.Ports = append(to.Ports, mesh.PortTraffic{Port: uint16(port.Port.Number), Path: at, Traffic: mesh.Traffic{
			LoadBalancer: loadBalancer(port.LoadBalancer),
			Connections:  connections(port.ConnectionPool),
			Outliers:     outliers(port.OutlierDetection),
			TLS:          clientTLS(at+".tls", port.TLS),
			HealthCheck:  healthCheck(at+".activeHealthCheck", port.ActiveHealthCheck),
		}})
	}
	return to
}

func connections(from *v1alpha1.ConnectionPoolSettings) *mesh.Connections {
	if from == nil {
		return nil
	}
	to := &mesh.Connections{}
	if tcp := from.TCP; tcp != nil {
		to.MaxConnections = uint32(tcp.MaxConnections)
		to.ConnectTimeout, to.MaxDuration = duration(tcp.ConnectTimeout), duration(tcp.MaxConnectionDuration)
		to.TCPIdle = orZero(tcp.IdleTimeout)
		if keep := tcp.TCPKeepalive; keep != nil {
			to.Keepalive = &mesh.Keepalive{Probes: uint32(keep.Probes), Time: duration(keep.Time), Interval: duration(keep.Interval)}
		}
	}
	if http := from.HTTP; http != nil {
		to.MaxPending, to.MaxRequests = uint32(http.HTTP1MaxPendingRequests), uint32(http.HTTP2MaxRequests)
		to.MaxRequestsPerConnection, to.MaxRetries = uint32(http.MaxRequestsPerConnection), uint32(http.MaxRetries)
		to.MaxStreams, to.HTTPIdle = uint32(http.MaxConcurrentStreams), duration(http.IdleTimeout)
		to.Upgrade, to.ClientProtocol = http.H2UpgradePolicy == "UPGRADE", http.UseClientProtocol
		if ping := http.HTTP2KeepAlive; ping != nil {
			to.Ping = &mesh.Ping{Interval: duration(&ping.Interval), Timeout: duration(&ping.Timeout)}
		}
	}
	return to
}

func outliers(from *v1alpha1.OutlierDetection) *mesh.OutlierDetection {
	if from == nil {
		return nil
	}
	return &mesh.OutlierDetection{
		Consecutive5xx:     uint32(orElse(from.Consecutive5xxErrors, 5)),
		ConsecutiveGateway: uint32(orElse(from.ConsecutiveGatewayErrors, from.ConsecutiveErrors)),
		ConsecutiveLocal:   uint32(orElse(from.ConsecutiveLocalOriginFailures, 5)),
		SplitLocal:         from.SplitExternalLocalOriginErrors,
		Interval:           duration(from.Interval),
		BaseEjection:       duration(from.BaseEjectionTime),
		MaxEjectionPercent: uint32(from.MaxEjectionPercent),
		MinHealthPercent:   uint32(from.MinHealthPercent),
		Codes:              slices.Sorted(slices.Values(from.OutlierDetectionHTTPErrorCodes)),
	}
}

func clientTLS(path string, from *v1alpha1.ClientTLSSettings) *mesh.ClientTLS {
	if from == nil {
		return nil
	}
	to := &mesh.ClientTLS{
		Mode: mesh.TLSMode(cmp.Or(from.Mode, v1alpha1.TLSDisable)), Path: path,
		Certificate: from.ClientCertificate, Key: from.PrivateKey, Roots: from.CACertificates, Revoked: from.CACRL,
		Credential: from.CredentialName, SNI: from.SNI, Names: from.SubjectAltNames, SkipVerify: orElse(from.InsecureSkipVerify, false),
	}
	if from.Mode == v1alpha1.TLSIstioMutual {
		to.Mode = mesh.TLSMesh
	}
	return to
}

func healthCheck(path string, from *v1alpha1.ActiveHealthCheck) *mesh.HealthCheck {
	if from == nil {
		return nil
	}
	to := &mesh.HealthCheck{
		ForAll: from.By == v1alpha1.HealthByHDS, Protocol: mesh.HealthProtocol(from.Protocol), Place: path, Path: from.Path, Service: from.Service,
		Interval: cmp.Or(duration(from.Interval), 10*time.Second), Timeout: cmp.Or(duration(from.Timeout), time.Second),
		Healthy: uint32(cmp.Or(from.HealthyThreshold, 1)), Unhealthy: uint32(cmp.Or(from.UnhealthyThreshold, 3)),
	}
	if to.Protocol == mesh.HealthHTTP {
		to.Path = cmp.Or(to.Path, "/")
	}
	return to
}

func proxyProtocol(from *v1alpha1.ProxyProtocol) int {
	switch {
	case from == nil:
		return 0
	case from.Version == "V2":
		return 2
	}
	return 1
}

// hostPort joins what may be an IPv6 address with a port.
func hostPort(host string, port int32) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }

// orZero returns a duration that was found valid, nil for none.
func orZero(from *v1alpha1.DurationOrZero) *time.Duration {
	if from == nil {
		return nil
	}
	to, _ := from.Parse() // validate refuses what is none
	return &to
}
