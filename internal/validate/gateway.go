package validate

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/message"
)

// Gateway returns what is wrong with the object, looked at alone; nothing means that package
// convert can use it.
func Gateway(object *v1alpha1.Gateway, options Options) []message.Finding {
	c := newChecker(kindGateway, object, object.Spec, options)
	spec := field.NewPath("spec")
	c.labels(spec.Child("selector"), object.Spec.Selector)
	if len(object.Spec.Servers) == 0 {
		c.invalid(spec.Child("servers"), "there is no server", "give at least one")
	}
	named := map[string]*field.Path{}
	for i := range object.Spec.Servers {
		server, at := &object.Spec.Servers[i], spec.Child("servers").Index(i)
		c.server(at, server)
		if first := named[server.Name]; server.Name != "" && first != nil {
			c.add(message.Repeated(c.object, at.Child("name").String(), fmt.Sprintf("%q", server.Name), "the name of "+first.String()))
		}
		named[server.Name] = at
	}
	return message.Sort(c.findings)
}

func (c *checker) server(path *field.Path, server *v1alpha1.Server) {
	c.port(path.Child("port", "number"), server.Port.Number)
	if len(validation.IsDNS1123Label(server.Name)) > 0 && server.Name != "" {
		c.invalid(path.Child("name"), fmt.Sprintf("%q is not a name", server.Name), "use lower-case letters, digits and hyphens, at most 63")
	}
	switch _, err := netip.ParseAddr(server.Bind); {
	case server.Bind == "" || err == nil:
	case strings.HasPrefix(server.Bind, "unix://"):
		c.notImplemented(path.Child("bind"), "Unix sockets are", "give an IP address, or remove it")
	default:
		c.invalid(path.Child("bind"), fmt.Sprintf("%q is not an IP address", server.Bind), "give one, or remove it to listen on all")
	}
	if len(server.Hosts) == 0 {
		c.invalid(path.Child("hosts"), "there is no host", `name the hosts that are served; "*" is all`)
	}
	seen := map[string]bool{}
	for i, host := range server.Hosts {
		at := path.Child("hosts").Index(i)
		namespace, name, both := strings.Cut(host, "/")
		if !both {
			namespace, name = "*", host
		}
		if namespace != "*" && namespace != "." && len(validation.IsDNS1123Label(namespace)) > 0 {
			c.invalid(at, fmt.Sprintf("%q is not a namespace", namespace), `before the slash write a namespace, "." for the Gateway's own, or "*" for all`)
		}
		c.namePattern(at, name)
		if key := namespace + "/" + strings.ToLower(name); seen[key] {
			c.add(message.Repeated(c.object, at.String(), fmt.Sprintf("%q", host), "an earlier host"))
		} else {
			seen[key] = true
		}
	}
	c.serverTLS(path, server)
}

// namePattern checks a host name that may begin with "*." or be "*".
func (c *checker) namePattern(path *field.Path, name string) {
	if rest, wild := strings.CutPrefix(name, "*."); wild || name != "*" {
		c.host(path, rest)
	}
}

// serverTLS checks what a server says of TLS against its protocol, and in itself.
func (c *checker) serverTLS(path *field.Path, server *v1alpha1.Server) {
	at, tls := path.Child("tls"), server.TLS
	protocol := strings.ToUpper(server.Port.Protocol)
	switch protocol {
	case "HTTP", "HTTP2", "GRPC":
		if tls != nil {
			only := v1alpha1.ServerTLSSettings{HTTPSRedirect: tls.HTTPSRedirect}
			if !equality.Semantic.DeepEqual(*tls, only) {
				c.conflict(at, "the protocol "+protocol+" has no TLS but httpsRedirect", "use the protocol HTTPS, or remove the rest of tls")
			}
		}
		return
	case "HTTPS", "TLS":
		if tls == nil {
			c.conflict(path, "the protocol "+protocol+" needs tls", "set tls, with a mode")
			return
		}
	case "TCP", "MONGO":
		if tls == nil {
			return
		}
	default:
		c.invalid(path.Child("port", "protocol"), fmt.Sprintf("%q is not a protocol of servers", server.Port.Protocol),
			"use HTTP, HTTPS, HTTP2, GRPC, TLS, TCP or MONGO")
		return
	}
	if tls.HTTPSRedirect {
		c.conflict(at.Child("httpsRedirect"), "what comes by "+protocol+" is not redirected to HTTPS", "set it on a server with the protocol HTTP")
	}
	c.tlsVersions(at, tls)
	c.clientChecks(at, tls)
	certificates := tls.CredentialName != "" || len(tls.CredentialNames) > 0 || len(tls.TLSCertificates) > 0 || tls.ServerCertificate != "" || tls.PrivateKey != ""
	switch tls.Mode {
	case v1alpha1.ServerTLSSimple, v1alpha1.ServerTLSMutual, v1alpha1.ServerTLSOptionalMutual:
		c.certificates(at, tls)
	default:
		if certificates {
			c.conflict(at, "certificates are of no use in the mode "+string(modeOf(tls)), "remove them, or use SIMPLE, MUTUAL or OPTIONAL_MUTUAL")
		}
		if protocol == "HTTPS" && tls.Mode == v1alpha1.ServerTLSAutoPassthrough {
			c.conflict(at.Child("mode"), "AUTO_PASSTHROUGH is no mode of HTTPS", "use the protocol TLS")
		}
	}
}

func modeOf(tls *v1alpha1.ServerTLSSettings) v1alpha1.ServerTLSMode {
	if tls.Mode == "" {
		return v1alpha1.ServerTLSPassthrough
	}
	return tls.Mode
}

// certificates checks that there is one way to certificates, and to what checks clients'.
func (c *checker) certificates(path *field.Path, tls *v1alpha1.ServerTLSSettings) {
	ways := 0
	for _, set := range []bool{tls.CredentialName != "", len(tls.CredentialNames) > 0, len(tls.TLSCertificates) > 0, tls.ServerCertificate != "" || tls.PrivateKey != ""} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		c.conflict(path, fmt.Sprintf("the mode %s needs certificates in one place, and %d are given", tls.Mode, ways),
			"set credentialName, or credentialNames, or tlsCertificates, or serverCertificate with privateKey")
		return
	}
	for i, name := range slices.Concat([]string{tls.CredentialName, tls.CACertCredentialName}, tls.CredentialNames) {
		if problems := validation.IsDNS1123Subdomain(name); name != "" && len(problems) > 0 {
			c.invalid(path.Child("credentialName"), fmt.Sprintf("%q is not a Secret's name", name), "name a Secret in the gateway workload's own namespace")
		}
		if i > 1 && slices.Contains(tls.CredentialNames[:i-2], name) {
			c.add(message.Repeated(c.object, path.Child("credentialNames").Index(i-2).String(), fmt.Sprintf("%q", name), "an earlier one"))
		}
	}
	files := tls.TLSCertificates
	if tls.ServerCertificate != "" || tls.PrivateKey != "" {
		files = []v1alpha1.TLSCertificate{{ServerCertificate: tls.ServerCertificate, PrivateKey: tls.PrivateKey}}
	}
	for _, pair := range files {
		if pair.ServerCertificate == "" || pair.PrivateKey == "" {
			c.conflict(path, "a certificate in files needs its key, and a key its certificate", "set serverCertificate and privateKey")
		}
	}
	if tls.Mode != v1alpha1.ServerTLSSimple && len(files) > 0 && tls.CACertificates == "" && tls.CACertCredentialName == "" {
		c.conflict(path, "the mode "+string(tls.Mode)+" needs what clients' certificates are checked by", "set caCertificates or caCertCredentialName")
	}
	if tls.CACRL != "" && tls.CACertificates == "" {
		c.conflict(path.Child("caCrl"), "it has no effect without caCertificates", "set caCertificates; in a Secret, add ca.crl")
	}
}

// clientChecks checks what is said of clients' certificates.
func (c *checker) clientChecks(path *field.Path, tls *v1alpha1.ServerTLSSettings) {
	given := len(tls.SubjectAltNames)+len(tls.VerifyCertificateHash)+len(tls.VerifyCertificateSPKI) > 0 || tls.InsecureSkipVerify != nil ||
		tls.CACertificates != "" || tls.CACRL != "" || tls.CACertCredentialName != ""
	asks := tls.Mode == v1alpha1.ServerTLSMutual || tls.Mode == v1alpha1.ServerTLSOptionalMutual
	if given && !asks {
		c.conflict(path, "in the mode "+string(modeOf(tls))+" no client is asked for a certificate that could be checked so",
			"use MUTUAL or OPTIONAL_MUTUAL, or remove what is said of clients' certificates")
	}
	for i, hash := range tls.VerifyCertificateSPKI {
		if sum, err := base64.StdEncoding.DecodeString(hash); err != nil || len(sum) != 32 {
			c.invalid(path.Child("verifyCertificateSpki").Index(i), "it is not a SHA-256 hash in base64", "write its 44 characters")
		}
	}
	for i, hash := range tls.VerifyCertificateHash {
		if sum, err := hex.DecodeString(strings.ReplaceAll(hash, ":", "")); err != nil || len(sum) != 32 {
			c.invalid(path.Child("verifyCertificateHash").Index(i), "it is not a SHA-256 hash in hexadecimal", "write its 64 digits, with or without colons")
		}
	}
}

// cipherSuites are those that Envoy has besides those of TLS 1.3, which cannot be chosen.
var cipherSuites = []string{
	"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
	"ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA",
	"ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES256-SHA", "AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA", "DES-CBC3-SHA",
}

func (c *checker) tlsVersions(path *field.Path, tls *v1alpha1.ServerTLSSettings) {
	least, most := tls.MinProtocolVersion, tls.MaxProtocolVersion
	if most != "" && most != "TLS_AUTO" && (least > most || (least == "" || least == "TLS_AUTO") && most < "TLSV1_2") {
		c.conflict(path.Child("maxProtocolVersion"), "it is below the lowest version, which is TLSV1_2 unless minProtocolVersion says otherwise", "set minProtocolVersion to the same or a lower one")
	}
	for i, suite := range tls.CipherSuites {
		if at := path.Child("cipherSuites").Index(i); slices.Contains(tls.CipherSuites[:i], suite) {
			c.add(message.Repeated(c.object, at.String(), fmt.Sprintf("%q", suite), "an earlier one"))
		} else if !slices.Contains(cipherSuites, suite) {
			c.invalid(at, fmt.Sprintf("%q is not a cipher suite that proxies have", suite), "use "+strings.Join(cipherSuites, ", "))
		}
	}
	terminates := tls.Mode != "" && tls.Mode != v1alpha1.ServerTLSPassthrough && tls.Mode != v1alpha1.ServerTLSAutoPassthrough && tls.Mode != v1alpha1.ServerTLSIstioMutual
	if !terminates && (least != "" || most != "" || len(tls.CipherSuites) > 0) {
		c.conflict(path, "in the mode "+string(modeOf(tls))+" versions and cipher suites are not for the Gateway to say", "remove them")
	}
}
