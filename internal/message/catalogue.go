package message

import (
	"fmt"
	"strings"

	"fairlead.dev/fairlead/internal/mesh"
)

// Invalid says that a field's value cannot be used (FL0001).
func Invalid(object mesh.ObjectID, path, text, fix string) Finding {
	return codeInvalid.finding(object, path, text, fix)
}

// NotImplemented says that a field is known but has no effect yet (FL0002).
func NotImplemented(object mesh.ObjectID, path string) Finding {
	return codeNotImplemented.finding(object, path,
		"this field is not implemented yet", "remove it; docs/compatibility.md lists what is implemented")
}

// NotImplementedValue says that a field is implemented, but not for the value that it
// has (FL0002).
func NotImplementedValue(object mesh.ObjectID, path, what, fix string) Finding {
	return codeNotImplemented.finding(object, path, what+" not implemented yet", fix)
}

// InvalidRegex says that an expression is not RE2 (FL0003).
func InvalidRegex(object mesh.ObjectID, path, expression string, cause error) Finding {
	return codeRegex.finding(object, path,
		fmt.Sprintf("%s is not a regular expression in RE2 syntax: %v", shown(expression), cause),
		"correct it; RE2 has no look-around and no back references")
}

// InvalidSubstitution says that a substitution does not fit its expression (FL0003).
func InvalidSubstitution(object mesh.ObjectID, path, substitution, cause string) Finding {
	return codeRegex.finding(object, path,
		fmt.Sprintf("%s cannot be substituted: %s", shown(substitution), cause),
		`use \0 to \9 for the groups of the expression and \\ for a backslash`)
}

// WeightsZero says that no destination of a route gets anything (FL0004).
func WeightsZero(object mesh.ObjectID, path string) Finding {
	return codeWeights.finding(object, path,
		"the weights of all destinations are zero", "give at least one destination a weight above 0")
}

// WeightsTooLarge says that the sum of a route's weights is beyond what proxies take (FL0004).
func WeightsTooLarge(object mesh.ObjectID, path string, sum uint64) Finding {
	return codeWeights.finding(object, path,
		fmt.Sprintf("the weights sum up to %d, above 4294967295", sum), "give smaller weights in the same proportion")
}

// HeaderName says that a header cannot be used by this name here (FL0005).
func HeaderName(object mesh.ObjectID, path, text, fix string) Finding {
	return codeHeaderName.finding(object, path, text, fix)
}

// HeaderValue says that a header cannot be given this value (FL0006).
func HeaderValue(object mesh.ObjectID, path, text, fix string) Finding {
	return codeHeaderValue.finding(object, path, text, fix)
}

// FieldsConflict says that fields do not go together (FL0007).
func FieldsConflict(object mesh.ObjectID, path, text, fix string) Finding {
	return codeFieldsConflict.finding(object, path, text, fix)
}

// Repeated says that an entry is the same as another one (FL0008).
func Repeated(object mesh.ObjectID, path, what, other string) Finding {
	return codeRepeated.finding(object, path, what+" repeats "+other, "remove one of the two")
}

// RetryOn says that a word is not a retry condition (FL0009).
func RetryOn(object mesh.ObjectID, path, word string, known []string) Finding {
	text := fmt.Sprintf("%s is not a retry condition", shown(word))
	if word == "" {
		text = "there is an empty word between commas"
	}
	return codeRetryOn.finding(object, path, text,
		"use status codes from 100 to 599 and "+strings.Join(known, ", "))
}

// Unsatisfiable says that certificates cannot be renewed within their windows (FL0010).
func Unsatisfiable(object mesh.ObjectID, path, text, fix string) Finding {
	return codeUnsatisfiable.finding(object, path, text, fix)
}

// HostConflict says that an older object already routes a host (FL0101).
func HostConflict(object mesh.ObjectID, path, host string, winner mesh.ObjectID) Finding {
	return codeHostConflict.finding(object, path,
		fmt.Sprintf("host %s belongs to the older %s", host, winner),
		"merge the two objects, or remove the host from one of them")
}

// HostNotFound says that no service has the host (FL0102).
func HostNotFound(object mesh.ObjectID, path, host string) Finding {
	fix := "create the Service or correct the name"
	if strings.Count(host, ".") == 1 || strings.HasSuffix(host, ".svc") {
		// The short forms that resolv.conf completes and route rules do not.
		fix += "; a name with a dot is taken as it stands: write <service>.<namespace>.svc.<cluster domain> in full"
	}
	return codeHostNotFound.finding(object, path,
		fmt.Sprintf("no Service has the host %s", host), fix+"; until then what leads there is answered 503")
}

// SubsetNotFound says that the destination's policy has no such subset (FL0103).
func SubsetNotFound(object mesh.ObjectID, path, host, subset string, known []string) Finding {
	fix := "create a DestinationRule for the host with this subset, or select by labels"
	if len(known) > 0 {
		fix = "use one of " + strings.Join(known, ", ") + ", or add the subset to the DestinationRule"
	}
	return codeSubsetNotFound.finding(object, path,
		fmt.Sprintf("host %s has no subset %q", host, subset), fix+"; until then it is answered 503")
}

// PortNotFound says that the destination's service has no such port (FL0104).
func PortNotFound(object mesh.ObjectID, path, host string, port uint16, known []string) Finding {
	text := fmt.Sprintf("host %s has no port %d", host, port)
	fix := "use one of " + strings.Join(known, ", ")
	if port == 0 {
		text = fmt.Sprintf("host %s has several ports, none of them is the one that is called, and none is chosen", host)
		fix = "set destination.port.number to one of " + strings.Join(known, ", ")
	}
	return codePortNotFound.finding(object, path, text, fix+"; until then it is answered 503")
}

// PortNotHTTP says that none of a routed host's ports is routed (FL0105).
func PortNotHTTP(object mesh.ObjectID, path, host string) Finding {
	return codePortNotHTTP.finding(object, path,
		fmt.Sprintf("no port of host %s speaks HTTP, as far as its Service says", host),
		"set appProtocol: http on the Service's port, or give it a name that begins with http; until then it is carried as TCP")
}

// RoutedHostNotFound says that a routed host would be a service's, but there is none (FL0106).
func RoutedHostNotFound(object mesh.ObjectID, path, host string) Finding {
	return codeRoutedHost.finding(object, path,
		fmt.Sprintf("no Service has the host %s", host), "create the Service or correct the name")
}

// RoutedHostShort says that a routed host is a short form of a service's (FL0106).
func RoutedHostShort(object mesh.ObjectID, path, host, full string) Finding {
	return codeRoutedHost.finding(object, path,
		fmt.Sprintf("%s is taken as it stands, and is not the host of the Service that clients reach by that name", host), "write "+full)
}

// PlaintextRefused says that a policy has callers use plaintext towards a workload that takes none (FL0107).
func PlaintextRefused(object mesh.ObjectID, path, host string, server mesh.NamespacedName) Finding {
	return codePlaintextRefused.finding(object, path,
		fmt.Sprintf("callers of %s are to use plaintext, and %s takes mutual TLS only (STRICT)", host, server),
		"remove tls from the policy, or have the server take plaintext: annotation mesh.fairlead.dev/mtls: PERMISSIVE")
}

// NoMutualTLS says that a policy asks for mutual TLS with a workload that has none (FL0108).
func NoMutualTLS(object mesh.ObjectID, path, host, server string) Finding {
	return codeNoMutualTLS.finding(object, path,
		fmt.Sprintf("callers of %s are to use mutual TLS only, and %s does not take it", host, server),
		"give the server a proxy with certificates and another mode than DISABLE, or remove tls from the policy: then each endpoint is called as it can be")
}

// Unreachable says that an earlier match takes all requests (FL0120).
func Unreachable(object mesh.ObjectID, path, by string) Finding {
	return codeUnreachable.finding(object, path,
		"no request comes here: "+by+" takes them all", "put the more special match first, or remove this one")
}

// DelegateNotFound says that a delegate's routes are not there (FL0121).
func DelegateNotFound(object mesh.ObjectID, path string, delegate mesh.NamespacedName) Finding {
	return codeDelegate.finding(object, path,
		fmt.Sprintf("there is no VirtualService %s without hosts that this namespace sees", delegate),
		"create it, or correct namespace and name; until then requests are answered 503")
}

// DelegateOutside says that a delegate's route gets no requests (FL0122).
func DelegateOutside(object mesh.ObjectID, path string, root mesh.ObjectID) Finding {
	return codeDelegateOutside.finding(object, path,
		fmt.Sprintf("nothing that %s leaves to this object matches here", root),
		"let path, port and source lie within those of the match that names the delegate")
}

// RuleClaimed says that a VirtualService has the host of a rule (FL0123).
func RuleClaimed(object mesh.ObjectID, path, host string, winner mesh.ObjectID) Finding {
	return codeRuleClaimed.finding(object, path,
		fmt.Sprintf("host %s is routed by %s", host, winner),
		"move the rule into it, or remove the host there")
}

// PolicyUnfit says that a setting is not used for a port (FL0130).
func PolicyUnfit(object mesh.ObjectID, path, host string, port uint16, needs string) Finding {
	return codePolicyUnfit.finding(object, path,
		fmt.Sprintf("port %d of host %s does not fit: it needs %s", port, host, needs),
		"say in portLevelSettings what holds for that port, or set the port's appProtocol; until then the setting is not used for it")
}

// PolicyPort says that a policy is for a port that there is not (FL0131).
func PolicyPort(object mesh.ObjectID, path, host string, port uint16, known []string) Finding {
	return codePolicyPort.finding(object, path,
		fmt.Sprintf("host %s has no port %d", host, port), "use one of "+strings.Join(known, ", ")+", or remove the entry")
}

// GatewayUnused says that no workload serves a Gateway (FL0140).
func GatewayUnused(object mesh.ObjectID, path string) Finding {
	return codeGatewayUnused.finding(object, path,
		"no Pod with these labels has the annotation mesh.fairlead.dev/mode: gateway", "start one, or correct the selector")
}

// GatewayNotFound says that there is no such Gateway (FL0141).
func GatewayNotFound(object mesh.ObjectID, path, gateway string) Finding {
	return codeGatewayNotFound.finding(object, path, "there is no Gateway "+gateway, "create it, or correct its name")
}

// HostNotServed says that no server of a Gateway has a host (FL0142).
func HostNotServed(object mesh.ObjectID, path, host, gateway string) Finding {
	return codeHostNotServed.finding(object, path,
		fmt.Sprintf("no server of Gateway %s serves %s for this namespace", gateway, host), "add the host there, or remove it here")
}

// ServerConflict says that an older server has what a server asks for (FL0143).
func ServerConflict(object mesh.ObjectID, path, server, why string) Finding {
	return codeServerConflict.finding(object, path,
		fmt.Sprintf("server %s is older: %s", server, why), "remove it from one of the two, or take another port")
}

// CredentialUnusable says that a Secret does not serve its purpose (FL0144).
func CredentialUnusable(object mesh.ObjectID, path, secret, problem string) Finding {
	return codeCredential.finding(object, path, secret+": "+problem, "create it there, or correct it")
}

// CertificateShared says that two servers show the same certificate (FL0145).
func CertificateShared(object mesh.ObjectID, path, server string) Finding {
	return codeCertificateShared.finding(object, path,
		"server "+server+" on the same port shows the same certificate for other hosts", "list the hosts in one server, or take another certificate")
}

// HostTaken says that a host or an address is another object's (FL0150).
func HostTaken(object mesh.ObjectID, path, what string, holder mesh.ObjectID) Finding {
	return codeHostTaken.finding(object, path, fmt.Sprintf("%s belongs to %s", what, holder), "remove it from one of the two, or export them to different namespaces")
}

// NothingSelected says that no Pod is behind a host (FL0151).
func NothingSelected(object mesh.ObjectID, path, host string) Finding {
	return codeNothingSelected.finding(object, path,
		fmt.Sprintf("no Pod of namespace %s is selected to serve %s", object.Namespace, host), "correct the labels; until then calls are answered 503")
}

// NotTold says that connections to a host look like others (FL0152).
func NotTold(object mesh.ObjectID, path, host string, port uint16, other string) Finding {
	return codeNotTold.finding(object, path,
		fmt.Sprintf("connections to port %d of %s cannot be told from those to %s", port, host, other), "give the host addresses, or another port")
}

// Refused says that a proxy refused a resource that was made of the object, in its own words, and
// what is meanwhile (FL0160).
func Refused(object mesh.ObjectID, resource, node, words, meanwhile string) Finding {
	return codeRefused.finding(object, resource, fmt.Sprintf("proxy %s refused it: %s", node, strings.TrimRight(words, ". \n")),
		"correct what it names in the spec, until then "+meanwhile)
}

// Claimed says that an older object has the Secret (FL0201).
func Claimed(object mesh.ObjectID, path, secret string, winner mesh.ObjectID) Finding {
	return codeClaimed.finding(object, path,
		fmt.Sprintf("Secret %s belongs to the older %s", secret, winner),
		"remove one of the two, give one a secretName of its own, or narrow its selector")
}

// SecretNotOurs says that a Secret exists that is not Fairlead's to write (FL0202).
func SecretNotOurs(object mesh.ObjectID, path, secret string) Finding {
	return codeSecretNotOurs.finding(object, path,
		fmt.Sprintf("Secret %s exists and was not written by Fairlead, which leaves it as it is", secret),
		"delete or rename it, or set another secretName")
}

// ServiceAccountNotFound says that there is nobody to certify (FL0203). An empty name
// stands for a selector.
func ServiceAccountNotFound(object mesh.ObjectID, path, name string) Finding {
	text := fmt.Sprintf("namespace %s has no service account %s", object.Namespace, name)
	if name == "" {
		text = fmt.Sprintf("no service account of namespace %s is selected", object.Namespace)
	}
	return codeServiceAccountNotFound.finding(object, path, text,
		"create the ServiceAccount or correct this field; until then there is no certificate")
}

// IssuerNotFound says that nobody signs (FL0204).
func IssuerNotFound(object mesh.ObjectID, path, issuer string) Finding {
	return codeIssuerNotFound.finding(object, path,
		fmt.Sprintf("there is no %s", issuer), "create the issuer, or correct group, kind and name; until then nothing is issued or renewed")
}

// shown quotes a value for a message, cut where it is long: a condition's message must
// not carry a whole page.
func shown(value string) string {
	const most = 80
	if runes := []rune(value); len(runes) > most {
		value = string(runes[:most]) + "…"
	}
	return fmt.Sprintf("%q", value)
}
