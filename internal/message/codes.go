package message

import "fairlead.dev/fairlead/internal/mesh"

// Entry is what the catalogue says of one code. docs/messages.md is written from it.
type Entry struct {
	// Code never changes its meaning and is never used again for another one.
	Code   string
	Reason string
	Topic  Topic
	// Title is what is wrong, in a few words.
	Title string
	// Cause says how it comes about, and what the mesh does meanwhile.
	Cause string
	// Fix says what to do.
	Fix string
}

// The reasons that findings give to conditions.
const (
	ReasonInvalid        = "Invalid"
	ReasonNotImplemented = "NotImplemented"
	ReasonHostConflict   = "HostConflict"
	ReasonHostNotFound   = "HostNotFound"
	ReasonSubsetNotFound = "SubsetNotFound"
	ReasonPortNotFound   = "PortNotFound"
	ReasonTLSMismatch    = "TLSMismatch"

	ReasonPolicyUnfit      = "PolicyUnfit"
	ReasonUnreachable      = "Unreachable"
	ReasonDelegateNotFound = "DelegateNotFound"

	ReasonWorkloadNotFound  = "WorkloadNotFound"
	ReasonGatewayNotFound   = "GatewayNotFound"
	ReasonHostNotServed     = "HostNotServed"
	ReasonSecretNotUsable   = "SecretNotUsable"
	ReasonCertificateShared = "CertificateShared"
	ReasonRejected          = "Rejected"

	ReasonConflicted             = "Conflicted"
	ReasonSecretNotOurs          = "SecretNotOurs"
	ReasonServiceAccountNotFound = "ServiceAccountNotFound"
	ReasonIssuerNotFound         = "IssuerNotFound"
)

// The codes. FL00xx are found by looking at one object alone, FL01xx by looking at it
// together with others, FL02xx of certificates together with others.
var (
	codeInvalid = Entry{
		Code: "FL0001", Reason: ReasonInvalid, Topic: Acceptance,
		Title: "a field's value cannot be used",
		Cause: "A value is outside the range or the form that its field takes, in a way that the schema of the kind does not tell.",
		Fix:   "Change the field at the path given to what the message asks for.",
	}
	codeNotImplemented = Entry{
		Code: "FL0002", Reason: ReasonNotImplemented, Topic: Acceptance,
		Title: "a field, or a value of it, is not implemented yet",
		Cause: "The field belongs to the kind's source schema, and Fairlead does not act on it yet. It is refused rather than ignored, so that nobody relies on what does not happen.",
		Fix:   "Remove the field, or wait for a version that implements it. [compatibility.md](compatibility.md) lists the state of every field.",
	}
	codeRegex = Entry{
		Code: "FL0003", Reason: ReasonInvalid, Topic: Acceptance,
		Title: "not a regular expression that proxies understand",
		Cause: "Envoy uses [RE2](https://github.com/google/re2/wiki/Syntax), which has no look-around and no back references. A substitution may use `\\0` to `\\9` only, for groups that the expression has. (A correct expression that is larger than the proxy's limit, 32768 instructions once compiled, is refused by the proxy: `Programmed` is false then, reason `Rejected`, in Envoy's words.)",
		Fix:   "Write the expression in RE2's syntax. Remember that it must match the whole value, and that YAML wants single quotes around backslashes.",
	}
	codeWeights = Entry{
		Code: "FL0004", Reason: ReasonInvalid, Topic: Acceptance,
		Title: "the weights of a route leave nothing to share out, or too much",
		Cause: "Beside other destinations, a destination without a weight has weight 0. Either all weights of the route are 0, or their sum is above 4294967295, which is the most that Envoy takes.",
		Fix:   "Give at least one destination a weight above 0. Weights are shares of their sum, which need not be 100.",
	}
	codeHeaderName = Entry{
		Code: "FL0005", Reason: ReasonInvalid, Topic: Acceptance,
		Title: "a header's name cannot be used here",
		Cause: "The name has characters that HTTP does not allow in names, or it is one that is reached by another field: path, scheme, method and authority have fields of their own in a match, and the authority is changed by `rewrite.authority` only.",
		Fix:   "Use letters, digits and hyphens, or the field that the message names.",
	}
	codeHeaderValue = Entry{
		Code: "FL0006", Reason: ReasonInvalid, Topic: Acceptance,
		Title: "a header's value cannot be used",
		Cause: "The value has line breaks, or a percent sign that does not begin one of Envoy's [command operators](https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators) such as `%DOWNSTREAM_REMOTE_ADDRESS%`.",
		Fix:   "Write a literal percent sign twice (`%%`).",
	}
	codeFieldsConflict = Entry{
		Code: "FL0007", Reason: ReasonInvalid, Topic: Acceptance,
		Title: "fields that exclude each other, or a field without the one it needs",
		Cause: "Two fields are set of which only one can apply, or a field is set that has no effect without another.",
		Fix:   "Set the fields as the message says.",
	}
	codeRepeated = Entry{
		Code: "FL0008", Reason: ReasonInvalid, Topic: Acceptance,
		Title: "the same thing twice",
		Cause: "Two entries are the same once names are completed and compared without regard to case: a short host beside its full name, two subsets of one name, a header in two spellings.",
		Fix:   "Remove one of the two.",
	}
	codeRetryOn = Entry{
		Code: "FL0009", Reason: ReasonInvalid, Topic: Acceptance,
		Title: "an unknown retry condition",
		Cause: "`retries.retryOn` lists Envoy's [retry conditions](https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on), for HTTP and for gRPC, and HTTP status codes, with commas between. Envoy would ignore a word that it does not know.",
		Fix:   "Use the words that the message lists.",
	}
	codeUnsatisfiable = Entry{
		Code: "FL0010", Reason: ReasonInvalid, Topic: Acceptance,
		Title: "the windows leave a certificate no time to be renewed",
		Cause: "Between two openings of the windows of a MeshCertificate, or of the mesh's settings, lies more time than a certificate has from when it is due (`renewal.before`) until it expires. It could be renewed by an emergency only, at whatever hour that falls on. The message names the longest gap.",
		Fix:   "Give `renewal.before` or `duration` a longer value, add a window or a day, or shorten the freeze.",
	}
	codeHostConflict = Entry{
		Code: "FL0101", Reason: ReasonHostConflict, Topic: Acceptance,
		Title: "an older object routes the same host",
		Cause: "For proxies of the mesh a host belongs to one VirtualService: the oldest by creation time, then by namespace and name. The others are not used for that host.",
		Fix:   "Merge the two objects, or remove the host from one of them.",
	}
	codeHostNotFound = Entry{
		Code: "FL0102", Reason: ReasonHostNotFound, Topic: References,
		Title: "no service has the host",
		Cause: "A destination names a host that no Service has. What is routed there is answered 503; the object's other routes serve. A name without a dot is completed with the object's own namespace; a name with a dot is taken as it stands, so `reviews.prod` must be written in full.",
		Fix:   "Create the Service, or correct the name.",
	}
	codeSubsetNotFound = Entry{
		Code: "FL0103", Reason: ReasonSubsetNotFound, Topic: References,
		Title: "the host has no such subset",
		Cause: "A destination names a subset that no accepted DestinationRule of the host defines. What is routed there is answered 503; the object's other routes serve.",
		Fix:   "Add the subset to the DestinationRule, correct the name, or select Pods by `destination.labels`.",
	}
	codePortNotFound = Entry{
		Code: "FL0104", Reason: ReasonPortNotFound, Topic: References,
		Title: "the host has no such port, or several and none is chosen",
		Cause: "A destination names a port that its Service has not, or names none where the Service has several and not the one that was called. What is routed there is answered 503; the object's other routes serve.",
		Fix:   "Set `destination.port.number` to a port of the Service.",
	}
	codePortNotHTTP = Entry{
		Code: "FL0105", Reason: ReasonPortNotFound, Topic: References,
		Title: "the routed host has no port that speaks HTTP",
		Cause: "HTTP routes apply to ports that are said to speak HTTP, by `appProtocol` or by a name such as `http` or `grpc-api`. All ports of the host's Service are carried as TCP, so the object has no effect on it.",
		Fix:   "Set `appProtocol: http` on the Service's port, or give it a name that begins with `http`.",
	}
	codeRoutedHost = Entry{
		Code: "FL0106", Reason: ReasonHostNotFound, Topic: References,
		Title: "a routed host is written like a service's and is none",
		Cause: "`spec.hosts` names a service that does not exist, or a service that exists by a short form of its name with a dot in it, which is taken as it stands. Calls to the service are not routed by the object.",
		Fix:   "Create the Service, or write its full name, or the name without a dot from the same namespace.",
	}
	codePlaintextRefused = Entry{
		Code: "FL0107", Reason: ReasonTLSMismatch, Topic: References,
		Title: "callers are to use plaintext, and the server refuses it",
		Cause: "`tls.mode` is `DISABLE` (which it is too where `tls` names no mode), and a Pod behind the host is in the mTLS mode STRICT, by the annotation `mesh.fairlead.dev/mtls` of the Pod or its Namespace or by the mesh's setting. Calls to it fail.",
		Fix:   "Remove `tls` from the policy, so that proxies use mutual TLS where they can, or set the server's mode to PERMISSIVE.",
	}
	codeNoMutualTLS = Entry{
		Code: "FL0108", Reason: ReasonTLSMismatch, Topic: References,
		Title: "callers are to use mutual TLS, and the server has none",
		Cause: "`tls.mode` is `ISTIO_MUTUAL` or `MESH_MUTUAL`, and an endpoint of the host has no proxy with certificates (the label `mesh.fairlead.dev/tlsMode: mutual` says of a Pod that it has), or its mode is DISABLE. Calls to it fail, rather than go in plaintext.",
		Fix:   "Give the server a proxy with certificates, or remove `tls` from the policy: then each endpoint is called by mutual TLS if it can be, and else in plaintext.",
	}
	codeUnreachable = Entry{
		Code: "FL0120", Reason: ReasonUnreachable, Topic: Advice,
		Title: "no request comes to a route, or to a match",
		Cause: "Routes and their matches are tried in order, and an earlier one takes every request that this one would. What stands there has no effect. Only what can be told from the matches themselves is told: a shorter prefix before a longer one, a route without match before another, the same match twice.",
		Fix:   "Put the more special match first, or remove it.",
	}
	codeDelegate = Entry{
		Code: "FL0121", Reason: ReasonDelegateNotFound, Topic: References,
		Title: "there is no such delegate",
		Cause: "`delegate` names a VirtualService that does not exist, that is not visible to the object's namespace, or that has hosts. Requests that are left to it are answered 503; the object's other routes serve.",
		Fix:   "Create the VirtualService without `hosts`, or correct namespace and name.",
	}
	codeDelegateOutside = Entry{
		Code: "FL0122", Reason: ReasonUnreachable, Topic: References,
		Title: "a delegate's route takes none of the requests that are left to it",
		Cause: "A request has to match the route that names the delegate and then a route of the delegate. Here the paths, ports or callers exclude each other: a path has to lie within that of the naming route. A regular expression lies within a prefix never, as far as can be told.",
		Fix:   "Let the path of the delegate's match begin with the prefix of the naming route, and its port and source be the same or unset.",
	}
	codeRuleClaimed = Entry{
		Code: "FL0123", Reason: ReasonHostConflict, Topic: Acceptance,
		Title: "a VirtualService has the host of a RouteRule",
		Cause: "A VirtualService that names a host exactly, and applies to sidecars, claims it: RouteRules for the host are not used, whatever their precedence.",
		Fix:   "Move the rule into the VirtualService, or remove the host there.",
	}
	codePolicyUnfit = Entry{
		Code: "FL0130", Reason: ReasonPolicyUnfit, Topic: Advice,
		Title: "a setting does not fit the protocol of a port",
		Cause: "A health check by HTTP needs a port that speaks HTTP, one by gRPC a port that speaks HTTP/2; a tunnel is for ports on which bytes are carried. The setting is used for the host's other ports, and not for this one.",
		Fix:   "Say in `portLevelSettings` what holds for this port, or change the port's protocol by its name or `appProtocol`.",
	}
	codePolicyPort = Entry{
		Code: "FL0131", Reason: ReasonPortNotFound, Topic: References,
		Title: "a policy is for a port that the host does not have",
		Cause: "`portLevelSettings` name a port that no Service of the host has: the settings apply to nothing. Ports are the Service's, not the Pod's.",
		Fix:   "Correct the number, or remove the entry.",
	}
	codeGatewayUnused = Entry{
		Code: "FL0140", Reason: ReasonWorkloadNotFound, Topic: References,
		Title: "no workload serves a Gateway",
		Cause: "A Gateway is served by Pods with the annotation `mesh.fairlead.dev/mode: gateway` that have the labels of its selector, in any namespace. There is none.",
		Fix:   "Start one, correct the selector, or annotate the Pods.",
	}
	codeGatewayNotFound = Entry{
		Code: "FL0141", Reason: ReasonGatewayNotFound, Topic: References,
		Title: "a VirtualService names a Gateway that does not exist",
		Cause: "`spec.gateways` lists a Gateway by `name`, in the object's own namespace, or by `namespace/name`. None is accepted by that name. The object applies to the others that it lists.",
		Fix:   "Create the Gateway, or correct its name.",
	}
	codeHostNotServed = Entry{
		Code: "FL0142", Reason: ReasonHostNotServed, Topic: References,
		Title: "a Gateway does not serve a host that is bound to it",
		Cause: "A host of a VirtualService lies outside the `hosts` of all servers of the Gateway, or these take routes of other namespaces only: what stands before the slash in `hosts`.",
		Fix:   "Add the host to a server of the Gateway, or remove it from the VirtualService.",
	}
	codeServerConflict = Entry{
		Code: "FL0143", Reason: ReasonHostConflict, Topic: Acceptance,
		Title: "an older server has the port, or the host",
		Cause: "On one port of a gateway workload all servers take HTTP in plaintext, or all TLS, or all TCP: the oldest Gateway decides which. By TLS each host belongs to one server, since its name decides which certificate is shown. Of the server that came later the port, or the host, is not used; its other hosts are.",
		Fix:   "Remove the host or the server from one of the two Gateways, or give it another port.",
	}
	codeCredential = Entry{
		Code: "FL0144", Reason: ReasonSecretNotUsable, Topic: References,
		Title: "a certificate is missing, or cannot be used",
		Cause: "The Secret is looked for in the namespace of the proxy that is to use it. It has `tls.crt` with `tls.key` in PEM (or `cert` with `key`), and `ca.crt` (or `cacert`) to check the other side's certificate by. Where it turns bad, proxies go on with what it had; a server that never had any is left out, and the others on its port serve.",
		Fix:   "Create the Secret in the namespace that the message names, or correct what is in it. It is read at once.",
	}
	codeCertificateShared = Entry{
		Code: "FL0145", Reason: ReasonCertificateShared, Topic: Advice,
		Title: "two servers of one port show the same certificate",
		Cause: "A client that speaks HTTP/2 sends requests for all hosts of a certificate on one connection. One for a host that the server of this connection does not have is answered 421, on which browsers connect anew; simpler clients give up.",
		Fix:   "List the hosts in one server, or give each server a certificate of its own.",
	}
	codeHostTaken = Entry{
		Code: "FL0150", Reason: ReasonHostConflict, Topic: Advice,
		Title: "a host or an address belongs to another object",
		Cause: "A ServiceEntry adds a host that a Service or an older ServiceEntry has, one that clients call a Service by (`reviews.prod`), or an address that an older one, or a range that an older one or Kubernetes' Services have for the same port. Whoever sees the other one gets that; callers of a ServiceEntry's own namespace get their own host.",
		Fix:   "Remove the host or the address from one of the two, or export them to different namespaces by `exportTo`.",
	}
	codeNothingSelected = Entry{
		Code: "FL0151", Reason: ReasonHostNotFound, Topic: References,
		Title: "a selector selects nothing",
		Cause: "No Pod of the ServiceEntry's namespace has all labels of `workloadSelector`. Calls are answered 503 until there is one.",
		Fix:   "Correct the labels, or start the Pods.",
	}
	codeNotTold = Entry{
		Code: "FL0152", Reason: ReasonHostConflict, Topic: Advice,
		Title: "connections to a host cannot be told from others",
		Cause: "The host has no addresses, and its port speaks neither HTTP nor TLS, so that nothing in a connection says whom it is for. One such host can have a port for itself; another one has this port already. Proxies that are called by address are not concerned.",
		Fix:   "Give the host `addresses`, or another port.",
	}
	codeRefused = Entry{
		Code: "FL0160", Reason: ReasonRejected, Topic: Delivery,
		Title: "a proxy refused what was made of the object",
		Cause: "The object is valid by every rule that is known here, and Envoy takes something of it for wrong: an expression that is too large once compiled, say. The message has the proxy, the resource and Envoy's own words. The generation is held: proxies keep the last one that each of them took, as the message says, or go without the object if there is none, also after a restart and if they start later. Other objects go on, those that the refused resource was made from as well. A generation that every proxy had taken before one refused it is not held: that one goes without.",
		Fix:   "Correct what Envoy names; the next generation is tried as any other. What is kept is in ControllerRevisions that the object owns, with the label `mesh.fairlead.dev/revision`.",
	}
	codeClaimed = Entry{
		Code: "FL0201", Reason: ReasonConflicted, Topic: Acceptance,
		Title: "an older object claims the same Secret",
		Cause: "A Secret holds the certificate of one service account, on the terms of one MeshCertificate. Where two claim it, the older one has it: by creation time, then by name. An object that names its service account goes before one that selects it.",
		Fix:   "Remove one of the two, give one a `secretName` of its own, or narrow its selector.",
	}
	codeSecretNotOurs = Entry{
		Code: "FL0202", Reason: ReasonSecretNotOurs, Topic: Acceptance,
		Title: "a Secret of that name exists that Fairlead did not write",
		Cause: "Certificates are written to Secrets only that have the label `mesh.fairlead.dev/certificate`, or that do not exist yet. Another's Secret is never touched, so the service account goes without a Secret; proxies that take certificates from the manager itself are not concerned.",
		Fix:   "Delete or rename the Secret, or give the MeshCertificate another `secretName`.",
	}
	codeServiceAccountNotFound = Entry{
		Code: "FL0203", Reason: ReasonServiceAccountNotFound, Topic: References,
		Title: "the service account does not exist",
		Cause: "A MeshCertificate names a service account that its namespace has not, or selects none. A certificate is issued once there is one.",
		Fix:   "Create the ServiceAccount, or correct the name or the selector.",
	}
	codeIssuerNotFound = Entry{
		Code: "FL0204", Reason: ReasonIssuerNotFound, Topic: References,
		Title: "the issuer does not exist",
		Cause: "`issuerRef` names an issuer of cert-manager that does not exist. Certificates that there are stay in use; none is issued or renewed until it exists.",
		Fix:   "Create the issuer, or correct group, kind and name. An `Issuer` is looked for in the namespace of the service account; a `ClusterIssuer` has none.",
	}
)

// Catalogue returns all codes, sorted.
func Catalogue() []Entry {
	return []Entry{
		codeInvalid, codeNotImplemented, codeRegex, codeWeights, codeHeaderName, codeHeaderValue,
		codeFieldsConflict, codeRepeated, codeRetryOn, codeUnsatisfiable,
		codeHostConflict, codeHostNotFound, codeSubsetNotFound, codePortNotFound,
		codePortNotHTTP, codeRoutedHost, codePlaintextRefused, codeNoMutualTLS,
		codeUnreachable, codeDelegate, codeDelegateOutside, codeRuleClaimed,
		codePolicyUnfit, codePolicyPort,
		codeGatewayUnused, codeGatewayNotFound, codeHostNotServed, codeServerConflict, codeCredential, codeCertificateShared,
		codeHostTaken, codeNothingSelected, codeNotTold,
		codeRefused,
		codeClaimed, codeSecretNotOurs, codeServiceAccountNotFound, codeIssuerNotFound,
	}
}

// finding makes a finding of the entry's code.
func (e Entry) finding(object mesh.ObjectID, path, text, fix string) Finding {
	return Finding{Code: e.Code, Reason: e.Reason, Topic: e.Topic, Object: object, Path: path, Text: text, Fix: fix}
}
