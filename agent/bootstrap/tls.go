package bootstrap

import (
	"net/netip"
	"path/filepath"
	"strings"
)

const (
	tlsSocket         = "envoy.transport_sockets.tls"
	upstreamTLSType   = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
	downstreamTLSType = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
	echo              = "envoy.filters.network.echo"
	echoType          = "envoy.extensions.filters.network.echo.v3.Echo"
)

// Names of the secrets and their files in Config.CertsDir. Listeners that come over xDS
// name them alike, relative to the folder that Envoy runs in.
const (
	CertificateSecret = "certificate"
	RootsSecret       = "roots"
	SystemRootsSecret = "system-roots"
	CertificateFile   = "sds-certificate.json"
	RootsFile         = "sds-roots.json"
)

// secretsOf are those that resources find by name alone.
func secretsOf(c Config) []object {
	if c.SystemRoots == "" {
		return nil
	}
	return []object{{"name": SystemRootsSecret, "validation_context": object{"trusted_ca": object{"filename": c.SystemRoots}}}}
}

// proofListener shows which certificate Envoy serves: the agent makes a handshake with
// it. What it says after that does not matter. It asks for a certificate of the same
// roots, as listeners of the mesh do, so that both secrets are proved.
func proofListener(c Config) object {
	return object{
		"name":                     "proof",
		"stat_prefix":              "proof",
		"address":                  pipe(c.ProofSocket, 0o600),
		"ignore_global_conn_limit": true,
		"filter_chains": []object{{
			"filters": []object{extension(echo, echoType, object{})},
			"transport_socket": extension(tlsSocket, downstreamTLSType, object{
				"require_client_certificate": true,
				// A resumed session would prove the certificate that it began with.
				"disable_stateless_session_resumption": true,
				"disable_stateful_session_resumption":  true,
				"common_tls_context": commonTLS(c.CertsDir, object{
					"validation_context_sds_secret_config": secretOf(c.CertsDir, RootsSecret, RootsFile),
				}),
			}),
		}},
	}
}

// controlPlaneTLS speaks to a manager whose certificate has the given name, and no other.
func controlPlaneTLS(c Config, host string) object {
	// The root's dot is for resolvers; certificates do not have it.
	host = strings.TrimSuffix(host, ".")
	name := strings.TrimSuffix(c.XDSServerName, ".")
	if name == "" {
		name = host
	}
	sanType, sni := "DNS", name
	if strings.Contains(name, "://") {
		sanType, sni = "URI", host
	} else if _, err := netip.ParseAddr(name); err == nil {
		sanType = "IP_ADDRESS"
	}
	speaks := "h2"
	if c.Protocol == REST {
		speaks = "http/1.1"
	}
	context := object{
		"common_tls_context": commonTLS(c.CertsDir, object{
			"alpn_protocols": []string{speaks},
			"combined_validation_context": object{
				"default_validation_context": object{
					"match_typed_subject_alt_names": []object{{
						"san_type": sanType,
						"matcher":  object{"exact": name},
					}},
				},
				"validation_context_sds_secret_config": secretOf(c.CertsDir, RootsSecret, RootsFile),
			},
		}),
	}
	// An address is no server name (RFC 6066, section 3).
	if _, err := netip.ParseAddr(sni); err != nil {
		context["sni"] = sni
	}
	return extension(tlsSocket, upstreamTLSType, context)
}

// commonTLS is what both sides have: our own certificate, and nothing older than TLS 1.3,
// which every peer within the mesh speaks.
func commonTLS(dir string, more object) object {
	more["tls_params"] = object{
		"tls_minimum_protocol_version": "TLSv1_3",
		// A client's default is 1.2.
		"tls_maximum_protocol_version": "TLSv1_3",
	}
	more["tls_certificate_sds_secret_configs"] = []any{secretOf(dir, CertificateSecret, CertificateFile)}
	return more
}

// secretOf reads a secret from a file. That file names others, and Envoy reads those
// again when anything is renamed within the folder.
func secretOf(dir, name, file string) object {
	return object{
		"name": name,
		"sds_config": object{
			"resource_api_version": "V3",
			"path_config_source": object{
				"path":              filepath.Join(dir, file),
				"watched_directory": object{"path": dir},
			},
		},
	}
}
