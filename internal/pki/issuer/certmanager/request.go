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

	"fairlead.dev/fairlead/internal/pki/issuer"
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

// signed waits until a request is decided on. An API server that ends the watch meanwhile ends
// the wait: the next try makes a request of its own.
func (i *Issuer) signed(ctx context.Context, request *unstructured.Unstructured) (status, error) {
	var last status
	// From the version that was made, so that no deletion is missed.
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
			if decided, reason := i.decided(last); decided {
				return last, reason
			}
		}
	}
	if ctx.Err() != nil {
		return last, i.late(ctx.Err(), last)
	}
	return last, i.failure(issuer.Failed, fmt.Errorf("wait for CertificateRequest %s/%s: %w", i.Namespace, request.GetName(), err))
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
		var r struct {
			Status status `json:"status"`
		}
		err := runtime.DefaultUnstructuredConverter.FromUnstructured(request.Object, &r)
		return r.Status, err
	}
}

// decided reads conditions as cert-manager documents them. A request has to be approved even if
// the issuer does not wait for that.
func (i *Issuer) decided(s status) (bool, error) {
	if denied, reason, message := s.condition("Denied"); denied {
		return true, i.failure(issuer.Denied, fmt.Errorf("the request was denied: %s: %s", reason, message))
	}
	if invalid, reason, message := s.condition("InvalidRequest"); invalid {
		return true, i.failure(issuer.Invalid, fmt.Errorf("the request is called invalid: %s: %s", reason, message))
	}
	approved, _, _ := s.condition("Approved")
	ready, reason, message := s.condition("Ready")
	switch {
	case ready && approved:
		return true, nil
	case reason == "Denied":
		return true, i.failure(issuer.Denied, fmt.Errorf("the request was denied: %s", message))
	case reason == "Failed" && strings.Contains(message, "cert-manager.io/private-key-secret-name"):
		return true, i.failure(issuer.Invalid, errSelfSigned)
	case reason == "Failed":
		return true, i.failure(issuer.Failed, fmt.Errorf("signing failed: %s", message))
	}
	return false, nil
}

// late says what a request that was not decided on in time was last seen to wait for.
func (i *Issuer) late(end error, s status) error {
	approved, _, _ := s.condition("Approved")
	_, reason, message := s.condition("Ready")
	switch {
	case !approved:
		return i.failure(issuer.NotReady, fmt.Errorf("nobody approved the request in time (%w): see cert-manager's approver, or the approval policy of this issuer", end))
	case strings.Contains(message, fmt.Sprintf("Referenced %q not found", i.Kind)):
		return i.failure(issuer.Missing, fmt.Errorf("%s: create it, or name another in issuerRef", message))
	case reason != "":
		return i.failure(issuer.NotReady, fmt.Errorf("not signed in time (%w): %s: %s", end, reason, message))
	}
	return i.failure(issuer.NotReady, fmt.Errorf("nobody signs for %s %q of group %s (%w): see whether its controller runs", i.Kind, i.Options.Name, i.Group, end))
}
