package controllers

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/rotation"
)

// status is what is to be told of an object. The API server keeps whole seconds.
func (r *MeshCertificateReconciler) status(object *v1alpha1.MeshCertificate) *v1alpha1.MeshCertificateStatus {
	about, _ := r.Claims.get(object.Namespace, object.Name)
	report := r.Engine.Report(objectOf(object))
	status := &v1alpha1.MeshCertificateStatus{
		ObservedGeneration: object.Generation,
		Certificates: &v1alpha1.CertificateCounts{
			Total: int32(report.Total), Current: int32(report.In[rotation.Current]),
			Due: int32(report.In[rotation.Due]), Unproven: int32(report.In[rotation.Unproven]),
		},
		NotAfter: timeOf(report.NotAfter), LastRenewal: timeOf(report.LastRenewal),
		Issuer: pki.SourceBuiltin, Window: windowText(&report),
		Proxies: &v1alpha1.ProxyCounts{Concerned: int32(report.Proxies), Acknowledged: int32(report.Proven)},
	}
	if report.Terms != nil && report.Terms.Issuer != "" {
		status.Issuer = report.Terms.Issuer
	}
	for i, planned := range report.Plan {
		if i == 0 {
			status.NextRenewal, status.NextReason = timeOf(planned.At), planned.Reason
		}
		status.Plan = append(status.Plan, v1alpha1.PlannedRenewal{Name: planned.Name, At: *timeOf(planned.At), Reason: planned.Reason})
	}
	if l := report.Learned; l != nil {
		status.Learned = &v1alpha1.LearnedHours{Hours: l.Hours, Curve: l.Curve, Days: int32(l.Days), Fallback: l.Fallback}
	}
	if root := report.Root; root != nil {
		status.Issuer, status.NotAfter = root.Issuer, timeOf(root.NotAfter)
		status.Phase = phase(root.State, root.Waiting)
		if status.Phase != nil {
			status.Phase.Since = *timeOf(root.State.Since)
		}
	}
	for _, condition := range conditions(object, about, &report) {
		condition.ObservedGeneration = object.Generation
		condition.LastTransitionTime = *timeOf(r.Clock.Now())
		if before := meta.FindStatusCondition(object.Status.Conditions, condition.Type); before != nil && before.Status == condition.Status {
			condition.LastTransitionTime = before.LastTransitionTime
		}
		status.Conditions = append(status.Conditions, condition)
	}
	return status
}

// conditions are those of every kind, and Paused.
func conditions(object *v1alpha1.MeshCertificate, about told, report *rotation.Report) []metav1.Condition {
	accepted := condition(v1alpha1.ConditionAccepted, true, v1alpha1.ReasonAccepted, "the spec is valid and in use")
	if about.refused != "" {
		accepted = condition(v1alpha1.ConditionAccepted, false, about.reason, about.refused)
	}
	id := mesh.ObjectID{Kind: meshCertificateKind, Namespace: object.Namespace, Name: object.Name}
	refs := condition(v1alpha1.ConditionResolvedRefs, true, v1alpha1.ReasonResolvedRefs, "everything that it names exists")
	switch {
	case report.Conflict != "":
		refs = condition(v1alpha1.ConditionResolvedRefs, false, v1alpha1.ReasonSecretNotOurs, message.SecretNotOurs(id, "spec", report.Conflict).String())
	case report.Root != nil && report.Root.Fault != "":
		refs = condition(v1alpha1.ConditionResolvedRefs, false, v1alpha1.ReasonAuthorityUnusable, report.Root.Fault+"; what was good last stays in use")
	case report.MissingIssuer != "":
		refs = condition(v1alpha1.ConditionResolvedRefs, false, v1alpha1.ReasonIssuerNotFound,
			message.IssuerNotFound(id, "spec.issuerRef", strings.Replace(report.MissingIssuer, "/", " ", 1)).String())
	case about.missing != "":
		refs = condition(v1alpha1.ConditionResolvedRefs, false, v1alpha1.ReasonServiceAccountNotFound, about.missing)
	}
	programmed := programmedCertificates(report)
	ready := condition(v1alpha1.ConditionReady, true, v1alpha1.ReasonReady, programmed.Message)
	for _, other := range []metav1.Condition{accepted, refs, programmed} {
		if other.Status != metav1.ConditionTrue {
			ready = condition(v1alpha1.ConditionReady, false, other.Reason, other.Message)
			break
		}
	}
	return []metav1.Condition{accepted, refs, programmed, ready, paused(report)}
}

// programmedCertificates says whether every certificate is there and in use.
func programmedCertificates(report *rotation.Report) metav1.Condition {
	const conditionType = v1alpha1.ConditionProgrammed
	failure := ""
	if report.Failure != "" {
		failure = "; " + report.Failure
	}
	switch root := report.Root; {
	case root != nil && root.Failure != "":
		return condition(conditionType, false, v1alpha1.ReasonIssuerFailed, "the root could not be changed: "+root.Failure)
	case root != nil && root.Waiting.Warning != "":
		return condition(conditionType, false, v1alpha1.ReasonRotating, root.Waiting.Warning)
	case report.In[rotation.Expired] > 0:
		return condition(conditionType, false, v1alpha1.ReasonExpired, fmt.Sprintf("%d of %d certificates have expired%s", report.In[rotation.Expired], report.Total, failure))
	case report.Failure != "":
		return condition(conditionType, false, v1alpha1.ReasonIssuerFailed, "it is tried again: "+report.Failure)
	case report.In[rotation.Missing] > 0:
		return condition(conditionType, false, v1alpha1.ReasonIssuing, "certificates are being issued; status.certificates counts them")
	case root != nil && root.State.Next != 0:
		return condition(conditionType, false, v1alpha1.ReasonRotating, "the root is being changed; status.phase says how far it has come")
	case report.In[rotation.Unproven] > 0:
		return condition(conditionType, false, v1alpha1.ReasonPending, "not every proxy has shown that it serves its new certificate; status.certificates counts them")
	case report.Total == 0 && report.Root == nil:
		return condition(conditionType, true, v1alpha1.ReasonProgrammed, "there is no certificate to issue")
	}
	return condition(conditionType, true, v1alpha1.ReasonProgrammed, "every certificate is there, and in use wherever a proxy reports")
}

// paused says whether renewals wait, and why.
func paused(report *rotation.Report) metav1.Condition {
	const conditionType = v1alpha1.ConditionPaused
	switch terms := report.Terms; {
	case terms != nil && (terms.Policy.Paused || terms.Policy.DryRun):
		return condition(conditionType, true, v1alpha1.ReasonRequested, report.Paused)
	case strings.Contains(report.Paused, "refused"):
		return condition(conditionType, true, v1alpha1.ReasonCertificatesRefused, report.Paused)
	case report.Paused != "":
		return condition(conditionType, true, v1alpha1.ReasonHandshakeFailures, report.Paused)
	case terms != nil && len(terms.Policy.Windows) == 0:
		return condition(conditionType, true, v1alpha1.ReasonNoTimeZone,
			"there is no window, since the settings name no time zone: set certificates.timeZone in the ConfigMap fairlead; until then only emergencies are renewed")
	}
	return condition(conditionType, false, v1alpha1.ReasonRenewing, "renewals are made as planned")
}

func condition(conditionType string, isTrue bool, reason, text string) metav1.Condition {
	status := metav1.ConditionFalse
	if isTrue {
		status = metav1.ConditionTrue
	}
	const most = 32768 // the schema's limit, in characters
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return metav1.Condition{Type: conditionType, Status: status, Reason: reason, Message: text}
}

// windowText is when renewals are made, for people.
func windowText(report *rotation.Report) string {
	if report.Learned != nil && report.Learned.Fallback == "" {
		return report.Learned.Hours
	}
	if report.Terms == nil || len(report.Terms.Policy.Windows) == 0 {
		return ""
	}
	words := make([]string, len(report.Terms.Policy.Windows))
	for i, w := range report.Terms.Policy.Windows {
		words[i] = w.String()
	}
	text := strings.Join(words, "; ")
	const most = 1024 // the schema's limit
	return text[:min(len(text), most)]
}

func timeOf(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t.Truncate(time.Second)}
}
