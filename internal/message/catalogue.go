package message

import (
	"fmt"
	"strings"

	"fairlead.dev/fairlead/internal/mesh"
)

// The reasons that findings give to conditions.
const (
	ReasonInvalid        = "Invalid"
	ReasonNotImplemented = "NotImplemented"
	ReasonHostConflict   = "HostConflict"
	ReasonHostNotFound   = "HostNotFound"
	ReasonSubsetNotFound = "SubsetNotFound"
	ReasonPortNotFound   = "PortNotFound"
)

// Invalid says that a field's value cannot be used (FL0001).
func Invalid(object mesh.ObjectID, path, text, fix string) Finding {
	return Finding{Code: "FL0001", Reason: ReasonInvalid, Topic: Acceptance, Object: object, Path: path, Text: text, Fix: fix}
}

// NotImplemented says that a field is known but has no effect yet (FL0002).
func NotImplemented(object mesh.ObjectID, path string) Finding {
	return Finding{
		Code: "FL0002", Reason: ReasonNotImplemented, Topic: Acceptance, Object: object, Path: path,
		Text: "this field is not implemented yet", Fix: "remove it; docs/compatibility.md lists what is implemented",
	}
}

// HostConflict says that an older object already routes a host (FL0101).
func HostConflict(object mesh.ObjectID, path, host string, winner mesh.ObjectID) Finding {
	return Finding{
		Code: "FL0101", Reason: ReasonHostConflict, Topic: Acceptance, Object: object, Path: path,
		Text: fmt.Sprintf("host %s belongs to the older %s", host, winner),
		Fix:  "merge the two objects, or remove the host from one of them",
	}
}

// HostNotFound says that no service has the host (FL0102).
func HostNotFound(object mesh.ObjectID, path, host string) Finding {
	return Finding{
		Code: "FL0102", Reason: ReasonHostNotFound, Topic: References, Object: object, Path: path,
		Text: fmt.Sprintf("no Service has the host %s", host),
		Fix:  "create the Service or correct the name; until then what leads there is answered 503",
	}
}

// SubsetNotFound says that the destination's policy has no such subset (FL0103).
func SubsetNotFound(object mesh.ObjectID, path, host, subset string, known []string) Finding {
	fix := "create a DestinationRule for the host with this subset, or select by labels"
	if len(known) > 0 {
		fix = "use one of " + strings.Join(known, ", ") + ", or add the subset to the DestinationRule"
	}
	return Finding{
		Code: "FL0103", Reason: ReasonSubsetNotFound, Topic: References, Object: object, Path: path,
		Text: fmt.Sprintf("host %s has no subset %q", host, subset), Fix: fix + "; until then it is answered 503",
	}
}

// PortNotFound says that the destination's service has no such port (FL0104).
func PortNotFound(object mesh.ObjectID, path, host string, port uint16, known []string) Finding {
	text := fmt.Sprintf("host %s has no port %d", host, port)
	fix := "use one of " + strings.Join(known, ", ")
	if port == 0 {
		text = fmt.Sprintf("host %s has several ports and none is chosen", host)
		fix = "set destination.port.number to one of " + strings.Join(known, ", ")
	}
	return Finding{
		Code: "FL0104", Reason: ReasonPortNotFound, Topic: References, Object: object, Path: path,
		Text: text, Fix: fix + "; until then it is answered 503",
	}
}
