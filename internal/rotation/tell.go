package rotation

import (
	"fmt"

	"fairlead.dev/fairlead/internal/pki/renewal"
)

// count counts what was done, and tells of what people want to know.
func (e *Engine) count(h *holder, j job) {
	e.renewals.WithLabelValues(string(j.reason)).Inc()
	subject := h.subject
	switch j.reason {
	case reasonTrust, reasonUnwanted:
		e.Log.Debug("Changed a Secret", "secret", j.key, "reason", j.reason)
		return
	case reasonNew:
		e.Log.Debug("Issued a certificate", "for", j.key)
	case reasonDamaged:
		e.Log.Warn("Restored a Secret", "secret", j.key, "why", j.why)
		e.notify(subject, true, "SecretRestored", fmt.Sprintf("%s was written anew: %s", j.key, j.why))
	case renewal.ReasonEmergency:
		e.Log.Warn("Renewed a certificate in an emergency: no window was left for it", "for", j.key)
		e.notify(subject, true, "RenewedInEmergency", fmt.Sprintf("%s was renewed outside its windows: none was left before its expiry", j.key))
	default:
		e.Log.Info("Renewed a certificate", "for", j.key, "reason", j.reason)
		e.notify(subject, false, "Renewed", fmt.Sprintf("%s was renewed (%s)", j.key, j.reason))
	}
	e.told(subject)
}

// notify tells the service account and the MeshCertificate of a subject.
func (e *Engine) notify(s *Subject, warning bool, reason, message string) {
	if s == nil {
		return
	}
	e.notifyObject(Object{Kind: "ServiceAccount", Namespace: s.Identity.Namespace, Name: s.Identity.ServiceAccount}, warning, reason, message)
	if warning {
		e.notifyObject(s.Object, warning, reason, message)
	}
}

func (e *Engine) notifyObject(object Object, warning bool, reason, message string) {
	if object != (Object{}) {
		e.Notify(Event{Object: object, Warning: warning, Reason: reason, Message: message})
	}
}

// changedFor has an object's status looked at again.
func (e *Engine) changedFor(object Object) {
	if object = e.tellable(object); object != (Object{}) {
		e.Changed(object)
	}
}

// tellable is the object itself, or mesh-root for what has no object of its own.
func (e *Engine) tellable(object Object) Object {
	if object == (Object{}) && e.root.terms != nil {
		return e.root.terms.Object
	}
	return object
}
