package validate

import (
	"fmt"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
)

func (c *checker) trafficPolicy(path *field.Path, policy *v1alpha1.TrafficPolicy) {
	if policy == nil {
		return
	}
	c.portPolicy(path, &v1alpha1.PortTrafficPolicy{
		LoadBalancer: policy.LoadBalancer, ConnectionPool: policy.ConnectionPool, OutlierDetection: policy.OutlierDetection,
		TLS: policy.TLS, ActiveHealthCheck: policy.ActiveHealthCheck,
	})
	for i := range policy.PortLevelSettings {
		at := path.Child("portLevelSettings").Index(i)
		c.port(at.Child("port", "number"), policy.PortLevelSettings[i].Port.Number)
		c.portPolicy(at, &policy.PortLevelSettings[i])
	}
	if tunnel := policy.Tunnel; tunnel != nil {
		c.host(path.Child("tunnel", "targetHost"), tunnel.TargetHost)
		c.port(path.Child("tunnel", "targetPort"), tunnel.TargetPort)
		if policy.ProxyProtocol != nil {
			c.conflict(path, "tunnel and proxyProtocol are both set", "set one of them")
		}
	}
	if budget := policy.RetryBudget; budget != nil {
		c.share(path.Child("retryBudget", "percent"), budget.Percent)
		c.durationOrZero(path.Child("retryBudget", "budgetInterval"), budget.BudgetInterval)
	}
}

// portPolicy checks the groups of settings that a single port may have too.
func (c *checker) portPolicy(path *field.Path, policy *v1alpha1.PortTrafficPolicy) {
	if policy.LoadBalancer != nil {
		c.loadBalancer(path.Child("loadBalancer"), policy.LoadBalancer)
	}
	if policy.ConnectionPool != nil {
		c.connectionPool(path.Child("connectionPool"), policy.ConnectionPool)
	}
	if outliers := policy.OutlierDetection; outliers != nil {
		at := path.Child("outlierDetection")
		c.optionalDuration(at.Child("interval"), outliers.Interval)
		c.optionalDuration(at.Child("baseEjectionTime"), outliers.BaseEjectionTime)
	}
	if policy.TLS != nil {
		c.clientTLS(path.Child("tls"), policy.TLS)
	}
	if check := policy.ActiveHealthCheck; check != nil {
		at := path.Child("activeHealthCheck")
		c.newPath(at.Child("path"), check.Path)
		c.optionalDuration(at.Child("interval"), check.Interval)
		c.optionalDuration(at.Child("timeout"), check.Timeout)
		if !printable(check.Service) {
			c.invalid(at.Child("service"), "it has spaces or control characters", "write the name that the server knows the service by")
		}
	}
}

func (c *checker) connectionPool(path *field.Path, pool *v1alpha1.ConnectionPoolSettings) {
	if tcp := pool.TCP; tcp != nil {
		at := path.Child("tcp")
		c.optionalDuration(at.Child("connectTimeout"), tcp.ConnectTimeout)
		c.optionalDuration(at.Child("maxConnectionDuration"), tcp.MaxConnectionDuration)
		c.durationOrZero(at.Child("idleTimeout"), tcp.IdleTimeout)
		if keep := tcp.TCPKeepalive; keep != nil {
			c.seconds(at.Child("tcpKeepalive", "time"), keep.Time)
			c.seconds(at.Child("tcpKeepalive", "interval"), keep.Interval)
		}
	}
	http := pool.HTTP
	if http == nil {
		return
	}
	at := path.Child("http")
	c.optionalDuration(at.Child("idleTimeout"), http.IdleTimeout)
	if ping := http.HTTP2KeepAlive; ping != nil {
		c.duration(at.Child("http2KeepAlive", "interval"), ping.Interval)
		c.duration(at.Child("http2KeepAlive", "timeout"), ping.Timeout)
	}
	if http.UseClientProtocol && http.H2UpgradePolicy == "UPGRADE" {
		c.conflict(at, "useClientProtocol keeps the client's protocol, and h2UpgradePolicy changes it", "remove one of the two")
	}
}

// clientTLS holds settings to those that have a meaning in their mode: one that has none
// would be taken for protection that there is not.
func (c *checker) clientTLS(path *field.Path, tls *v1alpha1.ClientTLSSettings) {
	verifies := tls.Mode == v1alpha1.TLSSimple || tls.Mode == v1alpha1.TLSMutual
	given := tls.Mode == v1alpha1.TLSMutual
	skips := tls.InsecureSkipVerify != nil && *tls.InsecureSkipVerify
	mode := tls.Mode
	if mode == "" {
		mode = v1alpha1.TLSDisable
	}
	for _, setting := range []struct {
		name    string
		set, ok bool
	}{
		{"caCertificates", tls.CACertificates != "", verifies && !skips},
		{"caCrl", tls.CACRL != "", verifies && !skips},
		{"clientCertificate", tls.ClientCertificate != "", given},
		{"credentialName", tls.CredentialName != "", given || verifies && !skips},
		{"insecureSkipVerify", tls.InsecureSkipVerify != nil, verifies},
		{"privateKey", tls.PrivateKey != "", given},
		{"sni", tls.SNI != "", mode != v1alpha1.TLSDisable},
		{"subjectAltNames", len(tls.SubjectAltNames) > 0, mode != v1alpha1.TLSDisable && !skips},
	} {
		if setting.set && !setting.ok {
			c.conflict(path.Child(setting.name), fmt.Sprintf("it has no meaning in mode %s%s", mode, map[bool]string{true: " with insecureSkipVerify"}[skips]), "remove it, or change mode")
		}
	}
	files := tls.ClientCertificate != "" && tls.PrivateKey != ""
	if given && !files && tls.CredentialName == "" {
		c.conflict(path, "mode MUTUAL needs a certificate", "set clientCertificate and privateKey, or credentialName")
	}
	if tls.CredentialName != "" && (tls.ClientCertificate+tls.PrivateKey+tls.CACertificates+tls.CACRL) != "" {
		c.conflict(path, "credentialName stands in place of files", "set credentialName or files, not both")
	}
	if tls.SNI != "" {
		c.sni(path.Child("sni"), tls.SNI)
	}
	for i, name := range tls.SubjectAltNames {
		if name == "" || !printable(name) {
			c.invalid(path.Child("subjectAltNames").Index(i), fmt.Sprintf("%q is not a name", name), "write a DNS name, an IP address or a URI such as spiffe://cluster.local/ns/prod/sa/reviews")
		}
	}
}

// sni checks a server name: an address is none (RFC 6066, section 3).
func (c *checker) sni(path *field.Path, name string) {
	if _, err := netip.ParseAddr(name); err == nil || !dnsName.MatchString(strings.TrimSuffix(name, ".")) {
		c.invalid(path, fmt.Sprintf("%q is not a server name", name), "write a DNS name")
	}
}
