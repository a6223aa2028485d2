package webhooks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/internal/convert"
	"fairlead.dev/fairlead/internal/message"
	"fairlead.dev/fairlead/internal/settings"
	"fairlead.dev/fairlead/internal/validate"
)

// validationPath is where the API server posts objects to.
const validationPath = "/validate"

// Rules are what objects are judged by.
type Rules struct {
	Options validate.Options
	// Settings are those in force, Namespace is the manager's own.
	Settings  *settings.Holder
	Namespace string
	Clock     clock.PassiveClock
}

// Handler answers the API server's questions.
func Handler(rules Rules) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(validationPath, &admission.Webhook{Handler: admission.HandlerFunc(rules.judge)})
	return mux
}

// judge refuses what is invalid. An update that leaves the spec as it is passes: labels and
// finalizers of an object that was valid once must stay within reach.
func (r Rules) judge(_ context.Context, request admission.Request) admission.Response {
	if sameSpec(request.OldObject.Raw, request.Object.Raw) {
		return admission.Allowed("")
	}
	findings, err := r.findings(request.Kind.Kind, request.Object.Raw)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	var refused, warned []string
	for _, finding := range findings {
		if finding.Topic == message.Acceptance && finding.Reason != message.ReasonNotImplemented {
			refused = append(refused, finding.String())
		} else {
			warned = append(warned, finding.String())
		}
	}
	if len(refused) == 0 {
		return admission.Allowed("").WithWarnings(warned...)
	}
	response := admission.Denied(strings.Join(refused, "\n"))
	response.Result.Code, response.Result.Reason = http.StatusUnprocessableEntity, metav1.StatusReasonInvalid
	return response
}

func (r Rules) findings(kind string, raw []byte) ([]message.Finding, error) {
	switch kind {
	case "VirtualService":
		object, err := decode[v1alpha1.VirtualService](raw)
		_, findings := convert.RouteTable(object, r.Options) // which tells of routes that are never reached, too
		return findings, err
	case "DestinationRule":
		object, err := decode[v1alpha1.DestinationRule](raw)
		return validate.DestinationRule(object, r.Options), err
	case "RouteRule":
		object, err := decode[v1alpha1.RouteRule](raw)
		return validate.RouteRule(object, r.Options), err
	case "ServiceEntry":
		object, err := decode[v1alpha1.ServiceEntry](raw)
		return validate.ServiceEntry(object, r.Options), err
	case "MeshCertificate":
		object, err := decode[v1alpha1.MeshCertificate](raw)
		return validate.MeshCertificate(object, validate.CertificateOptions{
			Settings: r.Settings.Get(), Namespace: r.Namespace, Now: r.Clock.Now(),
		}), err
	}
	return nil, fmt.Errorf("objects of kind %s are not judged here; the webhook's registration names too many kinds", kind)
}

func decode[T any](raw []byte) (*T, error) {
	object := new(T)
	return object, json.Unmarshal(raw, object)
}

// sameSpec reports whether two objects want the same. The API server writes both in the same
// way, so bytes tell.
func sameSpec(before, after []byte) bool {
	var a, b struct{ Spec json.RawMessage }
	return len(before) > 0 && json.Unmarshal(before, &a) == nil && json.Unmarshal(after, &b) == nil && bytes.Equal(a.Spec, b.Spec)
}
