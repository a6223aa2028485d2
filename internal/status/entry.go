package status

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/delivery"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/message"
)

// conditionTypes are the conditions that the table writes, in the order in which they
// depend on each other. Conditions of other types are somebody else's.
var conditionTypes = []string{
	v1alpha1.ConditionAccepted,
	v1alpha1.ConditionResolvedRefs,
	v1alpha1.ConditionProgrammed,
	v1alpha1.ConditionReady,
}

// entry is what the table knows of one object.
type entry struct {
	object          mesh.ObjectID
	uid             types.UID
	generation      int64
	resourceVersion string
	lastWrite       time.Time

	validation  []message.Finding
	translation []message.Finding
	report      *delivery.Report

	// programmed is the latch: this generation has been acknowledged by every proxy that
	// it concerned.
	programmed bool
	// suspended: the object was not accepted when the last report came, so that the
	// report says nothing of the object in use.
	suspended bool

	// status is what is to be told, told what the API server shows.
	status v1alpha1.Status
	told   v1alpha1.Status
}

// compute derives the status from everything that is known.
func (e *entry) compute(now time.Time) {
	translated := e.report != nil && e.report.Generation == e.generation
	rejected := about(e.validation, message.Acceptance)
	if !translated && len(rejected) == 0 && e.resume() {
		return
	}
	held := translated && e.report.Held
	findings := slices.Clone(e.validation)
	if translated && !held {
		findings = append(findings, e.translation...)
	}
	rejected = about(findings, message.Acceptance)

	served := translated && len(rejected) == 0
	if len(rejected) > 0 {
		e.programmed, e.suspended = false, true
	} else if held {
		e.programmed = false
	} else if served && !e.suspended && acknowledged(e.report) {
		e.programmed = true
	}

	conditions := make([]metav1.Condition, 0, len(conditionTypes))
	conditions = append(conditions, e.accepted(rejected, about(findings, message.Advice), translated))
	conditions = append(conditions, e.resolvedRefs(about(findings, message.References), len(rejected) > 0, translated))
	conditions = append(conditions, e.programmedCondition(len(rejected) > 0, served && !e.suspended))
	conditions = append(conditions, e.ready(conditions, served && !e.suspended))
	for i := range conditions {
		e.stamp(&conditions[i], now)
	}

	status := v1alpha1.Status{ObservedGeneration: e.generation, Conditions: conditions}
	if served && !e.suspended {
		if !held {
			status.Proxies = counts(e.report)
		}
		status.Rejections = rejections(e.report)
	}
	e.status = status
}

// resume takes over what the API server shows if that speaks of the generation observed:
// after a restart it stays until translation has spoken again. It reports whether there
// is such a status.
func (e *entry) resume() bool {
	if e.told.ObservedGeneration != e.generation {
		return false
	}
	status := v1alpha1.Status{ObservedGeneration: e.generation, Proxies: e.told.Proxies, Rejections: e.told.Rejections}
	for _, conditionType := range conditionTypes {
		condition := meta.FindStatusCondition(e.told.Conditions, conditionType)
		if condition == nil || condition.ObservedGeneration != e.generation {
			return false
		}
		status.Conditions = append(status.Conditions, *condition)
	}
	e.status = status
	return true
}

// stamp completes a condition. Its transition time moves only when its status does: since
// the last time that it was computed here, or else since what the API server shows.
func (e *entry) stamp(condition *metav1.Condition, now time.Time) {
	condition.ObservedGeneration = e.generation
	before := meta.FindStatusCondition(e.status.Conditions, condition.Type)
	if before == nil {
		before = meta.FindStatusCondition(e.told.Conditions, condition.Type)
	}
	if before != nil && before.Status == condition.Status && !before.LastTransitionTime.IsZero() {
		condition.LastTransitionTime = before.LastTransitionTime
		return
	}
	// The API server keeps whole seconds.
	condition.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
}

// urgency compares what is to be told with what the API server shows. It returns false if
// the two are the same.
func (e *entry) urgency() (Urgency, bool) {
	urgency, differs := Later, false
	raise := func(to Urgency) { urgency, differs = max(urgency, to), true }
	if e.told.ObservedGeneration != e.status.ObservedGeneration {
		raise(Soon)
	}
	for i := range e.status.Conditions {
		condition := &e.status.Conditions[i]
		shown := meta.FindStatusCondition(e.told.Conditions, condition.Type)
		switch {
		case shown == nil, shown.Status != condition.Status, shown.Reason != condition.Reason,
			shown.ObservedGeneration != condition.ObservedGeneration:
			if condition.Reason == v1alpha1.ReasonPending {
				raise(Soon)
			} else {
				raise(Now)
			}
		case shown.Message != condition.Message, !shown.LastTransitionTime.Equal(&condition.LastTransitionTime):
			raise(Later)
		}
	}
	if !equality.Semantic.DeepEqual(e.told.Proxies, e.status.Proxies) ||
		!equality.Semantic.DeepEqual(e.told.Rejections, e.status.Rejections) {
		raise(Later)
	}
	return urgency, differs
}

// acknowledged reports whether every proxy concerned runs the report's generation. That
// no proxy is concerned tells something only once those that may reconnect had the time.
func acknowledged(report *delivery.Report) bool {
	if report.Concerned == 0 {
		return report.Settled
	}
	return report.Rejected == 0 && report.Acknowledged >= report.Concerned
}

// showsProgrammed reports whether a status says that the generation is programmed.
func showsProgrammed(status *v1alpha1.Status, generation int64) bool {
	condition := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionProgrammed)
	return condition != nil && condition.Status == metav1.ConditionTrue && condition.ObservedGeneration == generation
}

// about returns the findings on a topic.
func about(findings []message.Finding, topic message.Topic) []message.Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f message.Finding) bool { return f.Topic != topic })
}
