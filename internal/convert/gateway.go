package convert

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/validate"
)

// Gateway returns what the object says about gateway workloads, and what is wrong with it.
// There is no gateway where a finding of topic Acceptance is among them.
func Gateway(object *v1alpha1.Gateway, options Options) (*mesh.Gateway, []message.Finding) {
	findings := validate.Gateway(object, options)
	if refused(findings) {
		return nil, findings
	}
	gateway := &mesh.Gateway{Origin: origin(KindGateway, object), Selector: object.Spec.Selector}
	for i := range object.Spec.Servers {
		gateway.Servers = append(gateway.Servers, server(i, object.Namespace, &object.Spec.Servers[i]))
	}
	return gateway, findings
}

func server(place int, namespace string, from *v1alpha1.Server) mesh.Server {
	to := mesh.Server{
		Path: fmt.Sprintf("spec.servers[%d]", place),
		Name: cmp.Or(from.Name, strconv.Itoa(place)),
		Port: uint16(from.Port.Number),
	}
	// One that is no address was refused, and an empty one stays invalid.
	to.Bind, _ = netip.ParseAddr(from.Bind)
	for _, host := range from.Hosts {
		of, name, both := strings.Cut(host, "/")
		switch {
		case !both:
			of, name = "", host
		case of == "*":
			of = ""
		case of == ".":
			of = namespace
		}
		to.Hosts = append(to.Hosts, mesh.ServerHost{Namespace: of, Name: strings.ToLower(name)})
	}
	protocol := strings.ToUpper(from.Port.Protocol)
	to.Protocol = mesh.ServerTCP
	if strings.HasPrefix(protocol, "HTTP") || protocol == "GRPC" {
		to.Protocol = mesh.ServerHTTP
	}
	tls := from.TLS
	switch {
	case tls == nil:
	case protocol != "HTTPS" && to.Protocol == mesh.ServerHTTP:
		to.HTTPSRedirect = tls.HTTPSRedirect
	case tls.Mode == "" || tls.Mode == v1alpha1.ServerTLSPassthrough:
		to.Protocol = mesh.ServerPassthrough
	case tls.Mode == v1alpha1.ServerTLSAutoPassthrough:
		to.Protocol = mesh.ServerAutoPassthrough
	default:
		to.TLS = serverTLS(tls)
	}
	return to
}

func serverTLS(from *v1alpha1.ServerTLSSettings) *mesh.ServerTLS {
	to := &mesh.ServerTLS{
		Mesh:            from.Mode == v1alpha1.ServerTLSIstioMutual,
		Credentials:     from.CredentialNames,
		RequiresClient:  from.Mode == v1alpha1.ServerTLSMutual,
		AsksClient:      from.Mode == v1alpha1.ServerTLSMutual || from.Mode == v1alpha1.ServerTLSOptionalMutual,
		RootsFile:       from.CACertificates,
		RevokedFile:     from.CACRL,
		RootsCredential: from.CACertCredentialName,
		AcceptUntrusted: orElse(from.InsecureSkipVerify, false),
		SubjectAltNames: from.SubjectAltNames,
		SPKI:            from.VerifyCertificateSPKI,
		Hashes:          from.VerifyCertificateHash,
		Min:             tlsVersion(from.MinProtocolVersion),
		Max:             tlsVersion(from.MaxProtocolVersion),
		Ciphers:         from.CipherSuites,
	}
	if from.CredentialName != "" {
		to.Credentials = []string{from.CredentialName}
	}
	if from.ServerCertificate != "" {
		to.Files = []mesh.CertificateFiles{{Certificate: from.ServerCertificate, Key: from.PrivateKey}}
	}
	for _, pair := range from.TLSCertificates {
		to.Files = append(to.Files, mesh.CertificateFiles{Certificate: pair.ServerCertificate, Key: pair.PrivateKey})
	}
	return to
}

// tlsVersion turns TLSV1_2 into TLSv1_2, and the choice of any into none.
func tlsVersion(from v1alpha1.TLSProtocol) string {
	if number, is := strings.CutPrefix(string(from), "TLSV"); is {
		return "TLSv" + number
	}
	return ""
}
