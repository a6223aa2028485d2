package status

import (
	"fmt"
	"strings"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/message"
)

// Limits of the CRDs' schema, in characters (api/v1alpha1/status.go), and how many
// findings one message lists.
const (
	maxNode       = 512
	maxResource   = 1024
	maxMessage    = 4096
	maxCondition  = 32768
	maxRejections = 10
	maxFindings   = 10
)

// accepted says whether the spec is used as it stands. Whether another object has the
// host is known only once translation has spoken.
func (e *entry) accepted(rejected, advice []message.Finding, translated bool) metav1.Condition {
	switch {
	case len(rejected) > 0:
		return isFalse(v1alpha1.ConditionAccepted, mostTelling(rejected), text(rejected))
	case !translated:
		return e.awaited(v1alpha1.ConditionAccepted)
	}
	words := append([]string{"the spec is valid and in use"}, lines(advice)...)
	return isTrue(v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, strings.Join(words, "\n"))
}

// resolvedRefs says whether what the object names exists.
func (e *entry) resolvedRefs(missing []message.Finding, refused, translated bool) metav1.Condition {
	switch {
	case len(missing) > 0:
		return isFalse(v1alpha1.ConditionResolvedRefs, missing[0].Reason, text(missing))
	case refused:
		return metav1.Condition{
			Type: v1alpha1.ConditionResolvedRefs, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonNotAccepted,
			Message: "references are looked up once the spec is accepted",
		}
	case translated && e.report.Held:
		return metav1.Condition{
			Type: v1alpha1.ConditionResolvedRefs, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonRejected,
			Message: "references are looked up once proxies take the spec",
		}
	case !translated:
		return e.awaited(v1alpha1.ConditionResolvedRefs)
	}
	return isTrue(v1alpha1.ConditionResolvedRefs, v1alpha1.ReasonResolvedRefs, "everything that it names exists")
}

// programmedCondition says whether the proxies run the generation. Its words hold no
// counts, so that it does not change with every proxy that answers.
func (e *entry) programmedCondition(refused, served bool) metav1.Condition {
	const conditionType = v1alpha1.ConditionProgrammed
	const programmedWords = "every proxy concerned acknowledged it"
	switch {
	case refused:
		return isFalse(conditionType, v1alpha1.ReasonNotAccepted,
			"the spec is not accepted; proxies keep the last one that was, if there is one")
	case e.programmed && !served:
		return isTrue(conditionType, v1alpha1.ReasonProgrammed, programmedWords)
	case e.programmed && e.report.Concerned == 0:
		return isTrue(conditionType, v1alpha1.ReasonNoProxies, "no connected proxy is concerned; those that join start with it")
	case e.programmed && e.report.Rejected > 0:
		return isTrue(conditionType, v1alpha1.ReasonProgrammed, programmedWords+", but since then "+e.refusal())
	case e.programmed:
		return isTrue(conditionType, v1alpha1.ReasonProgrammed, programmedWords)
	case served && e.report.Rejected > 0:
		return isFalse(conditionType, v1alpha1.ReasonRejected, e.refusal())
	case served && e.report.Concerned == 0:
		return isFalse(conditionType, v1alpha1.ReasonPending, "no proxy is connected yet; those that may reconnect are given the time")
	case served:
		return isFalse(conditionType, v1alpha1.ReasonPending, "not every proxy concerned has acknowledged it yet; status.proxies counts them")
	}
	return isFalse(conditionType, v1alpha1.ReasonPending, "on its way to the proxies")
}

// ready sums the others up for kstatus and Argo CD: false with the most telling reason.
func (e *entry) ready(others []metav1.Condition, served bool) metav1.Condition {
	accepted, refs, programmed := others[0], others[1], others[2]
	const conditionType = v1alpha1.ConditionReady
	switch {
	case accepted.Status == metav1.ConditionFalse:
		return isFalse(conditionType, accepted.Reason, accepted.Message)
	case served && e.report.Rejected > 0:
		return isFalse(conditionType, v1alpha1.ReasonRejected, e.refusal())
	case refs.Status == metav1.ConditionFalse:
		reason := refs.Reason
		if e.severalCausesOfMissing() {
			reason = v1alpha1.ReasonRefsNotResolved
		}
		return isFalse(conditionType, reason, refs.Message)
	case accepted.Status != metav1.ConditionTrue:
		return isFalse(conditionType, accepted.Reason, accepted.Message)
	case refs.Status != metav1.ConditionTrue:
		return isFalse(conditionType, refs.Reason, refs.Message)
	case programmed.Status != metav1.ConditionTrue:
		return isFalse(conditionType, programmed.Reason, programmed.Message)
	}
	return isTrue(conditionType, v1alpha1.ReasonReady, programmed.Message)
}

// severalCausesOfMissing reports whether references are missing for different reasons.
func (e *entry) severalCausesOfMissing() bool {
	reasons := map[string]struct{}{}
	for _, findings := range [][]message.Finding{e.validation, e.translation} {
		for _, f := range about(findings, message.References) {
			reasons[f.Reason] = struct{}{}
		}
	}
	return len(reasons) > 1
}

// awaited is a condition that translation has not spoken of yet.
func (e *entry) awaited(conditionType string) metav1.Condition {
	return metav1.Condition{
		Type: conditionType, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonPending,
		Message: fmt.Sprintf("generation %d is being looked at", e.generation),
	}
}

func isTrue(conditionType, reason, text string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: metav1.ConditionTrue, Reason: reason, Message: truncate(text, maxCondition)}
}

func isFalse(conditionType, reason, text string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: metav1.ConditionFalse, Reason: reason, Message: truncate(text, maxCondition)}
}

// mostTelling returns the reason to lead with: what is wrong in the object itself comes
// before what other objects have to do with it.
func mostTelling(findings []message.Finding) string {
	for _, reason := range []string{message.ReasonInvalid, message.ReasonNotImplemented} {
		for _, f := range findings {
			if f.Reason == reason {
				return reason
			}
		}
	}
	return findings[0].Reason
}

// text lists findings, one a line.
func text(findings []message.Finding) string { return strings.Join(lines(findings), "\n") }

func lines(findings []message.Finding) []string {
	var lines []string
	for i, f := range findings {
		if i == maxFindings {
			lines = append(lines, fmt.Sprintf("and %d more", len(findings)-i))
			break
		}
		lines = append(lines, f.String())
	}
	return lines
}

// refusal words the first refusal, with what can be done about it.
func (e *entry) refusal() string {
	report := e.report
	if len(report.Rejections) == 0 {
		return "a proxy refused it; correct the spec, which takes effect once every proxy accepts it"
	}
	meanwhile := "the proxy goes without this change"
	switch {
	case report.Held && report.Serving > 0:
		meanwhile = fmt.Sprintf("proxies keep generation %d", report.Serving)
	case report.Held:
		meanwhile = "it is left out, since no earlier generation was taken by a proxy"
	}
	first := report.Rejections[0]
	words := message.Refused(e.object, clean(first.Resource, maxResource), clean(first.Node, maxNode), clean(first.Message, maxMessage), meanwhile).String()
	if report.Rejected > 1 {
		words += "; status.rejections lists more"
	}
	return words
}

func counts(report *delivery.Report) *v1alpha1.ProxyCounts {
	return &v1alpha1.ProxyCounts{
		Concerned:    int32(report.Concerned),
		Acknowledged: int32(report.Acknowledged),
		Rejected:     int32(report.Rejected),
		Lost:         int32(report.Lost),
	}
}

func rejections(report *delivery.Report) []v1alpha1.Rejection {
	var list []v1alpha1.Rejection
	for _, r := range report.Rejections[:min(len(report.Rejections), maxRejections)] {
		list = append(list, v1alpha1.Rejection{
			Node:     clean(r.Node, maxNode),
			Resource: clean(r.Resource, maxResource),
			Message:  clean(r.Message, maxMessage),
		})
	}
	return list
}

// clean makes a proxy's words fit for the API: valid UTF-8 of a limited length.
func clean(words string, limit int) string {
	return truncate(strings.ToValidUTF8(words, "\uFFFD"), limit)
}

// truncate shortens text to at most limit characters.
func truncate(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit-1]) + "…"
}
