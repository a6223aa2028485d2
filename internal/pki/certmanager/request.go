package certmanager

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"fairlead.dev/fairlead/internal/pki"
)

// status is what is read of a CertificateRequest.
type status struct {
	Conditions  []metav1.Condition `json:"conditions"`
	Certificate []byte             `json:"certificate"`
	CA          []byte             `json:"ca"`
}

func (s status) condition(kind string) (isTrue bool, reason, message string) {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c.Status == metav1.ConditionTrue, c.Reason, c.Message
		}
	}
	return false, "", ""
}

// signed waits until a request is decided on, and reports whether it is. An API server that
// ends the watch meanwhile ends the wait: the next call finds the request again.
func (i *Issuer) signed(ctx context.Context, request *unstructured.Unstructured) (last status, decided bool, err error) {
	if last, err = statusOf(request); err != nil {
		return last, false, i.failure(pki.Failed, err)
	}
	if decided, err = i.decided(last); decided || err != nil {
		return last, decided, err
	}
	// From the version that is known, so that no deletion is missed.
	events, err := i.requests.Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + request.GetName(), ResourceVersion: request.GetResourceVersion(),
	})
	if err == nil {
		defer events.Stop()
	}
	for err == nil {
		var seen status
		if seen, err = next(ctx, events); err == nil {
			last = seen
			if decided, reason := i.decided(last); decided || reason != nil {
				return last, decided, reason
			}
		}
	}
	if ctx.Err() != nil {
		return last, false, i.late(ctx.Err(), request.GetName(), last)
	}
	return last, false, i.failure(pki.Failed, fmt.Errorf("wait for CertificateRequest %s/%s: %w", i.Namespace, request.GetName(), err))
}

func statusOf(request *unstructured.Unstructured) (status, error) {
	var r struct {
		Status status `json:"status"`
	}
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(request.Object, &r)
	return r.Status, err
}

// next is the status after the next change.
func next(ctx context.Context, events watch.Interface) (status, error) {
	select {
	case <-ctx.Done():
		return status{}, ctx.Err()
	case event, open := <-events.ResultChan():
		request, isRequest := event.Object.(*unstructured.Unstructured)
		switch {
		case !open:
			return status{}, errors.New("the API server ended the watch")
		case event.Type == watch.Deleted:
			return status{}, errors.New("it was deleted by somebody before it was signed")
		case event.Type == watch.Error || !isRequest:
			return status{}, apierrors.FromObject(event.Object)
		}
		return statusOf(request)
	}
}

// decided reads conditions as cert-manager documents them. A request has to be approved even if
// the issuer does not wait for that. One whose issuer is missing is not decided on, and of no
// use to wait for.
func (i *Issuer) decided(s status) (bool, error) {
	if denied, reason, message := s.condition("Denied"); denied {
		return true, i.failure(pki.Denied, fmt.Errorf("the request was denied: %s: %s", reason, message))
	}
	if invalid, reason, message := s.condition("InvalidRequest"); invalid {
		return true, i.failure(pki.Invalid, fmt.Errorf("the request is called invalid: %s: %s", reason, message))
	}
	approved, _, _ := s.condition("Approved")
	ready, reason, message := s.condition("Ready")
	switch {
	case ready && approved:
		return true, nil
	case reason == "Denied":
		return true, i.failure(pki.Denied, fmt.Errorf("the request was denied: %s", message))
	case reason == "Failed" && strings.Contains(message, "cert-manager.io/private-key-secret-name"):
		return true, i.failure(pki.Invalid, errSelfSigned)
	case reason == "Failed":
		return true, i.failure(pki.Failed, fmt.Errorf("signing failed: %s", message))
	case strings.Contains(message, fmt.Sprintf("Referenced %q not found", i.Kind)):
		return false, i.failure(pki.Missing, fmt.Errorf("%s: create it, or name another in issuerRef", message))
	}
	return false, nil
}

// late says what a request that was not decided on in time was last seen to wait for, and
// where to look at it.
func (i *Issuer) late(end error, name string, s status) error {
	approved, _, _ := s.condition("Approved")
	_, reason, message := s.condition("Ready")
	see := fmt.Sprintf("CertificateRequest %s/%s", i.Namespace, name)
	switch {
	case !approved:
		return i.failure(pki.NotReady, fmt.Errorf("nobody has approved %s yet (%w): it is kept for %s; approve or deny it, or see cert-manager's approver or the approval policy of this issuer", see, end, Kept))
	case reason != "":
		return i.failure(pki.NotReady, fmt.Errorf("%s is not signed yet (%w): %s: %s", see, end, reason, message))
	}
	return i.failure(pki.NotReady, fmt.Errorf("nobody signs %s for %s %q of group %s (%w): see whether its controller runs", see, i.Kind, i.Options.Name, i.Group, end))
}
