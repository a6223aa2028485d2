// Package certmanager has certificates issued by whatever signs cert-manager's
// CertificateRequests: an Issuer, a ClusterIssuer, or one of another group.
//
// Each certificate is one CertificateRequest, for exactly one SPIFFE identity; only the
// manager's own has names besides, by which the API server calls its webhooks. It is made
// here, approved and signed by others, watched until it is, and removed afterwards. What comes
// back is taken only if it is what was asked for. The package reads no Secret and no issuer
// object, and approves nothing.
//
// A person may take hours to approve. A call waits for seconds, and leaves a request that is
// not decided on where it is; the next call with the same signing request finds it again.
//
// It speaks to the API server by a dynamic client, which has no cache and needs no types: those
// of cert-manager would bring Gateway API's along, for one object with five fields.
// https://cert-manager.io/docs/usage/certificaterequest/
package certmanager

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/internal/pki"
)

// Requests is the resource that certificates are asked for by.
var Requests = schema.GroupVersionResource{Group: "cert-manager.io", Version: "v1", Resource: "certificaterequests"}

const (
	// managedBy marks our requests, so that those of a manager that died are found.
	managedBy, manager = "app.kubernetes.io/managed-by", "fairlead"
	// forIdentity tells people whom a request is for.
	forIdentity = "mesh.fairlead.dev/identity"
	// usualTimeout is how long a call waits unless told otherwise. Issuers that sign by
	// themselves take a second.
	usualTimeout = 30 * time.Second
	// Kept is how long a request waits to be decided on before it is made anew.
	Kept = 24 * time.Hour
	// cleaning is how long the removal of a request may take.
	cleaning = 10 * time.Second
)

// Options say who is to sign, and where it is asked.
type Options struct {
	// Group, Kind and Name are the issuer's; Group is cert-manager.io and Kind Issuer unless set.
	Group, Kind, Name string
	// Namespace is where requests are made. An issuer that is not for the whole cluster has to
	// be there.
	Namespace string
	// Owner is the object with which requests go, at the latest; nil: none.
	Owner *metav1.OwnerReference
	// Timeout is how long a call waits for its certificate; 0: half a minute.
	Timeout time.Duration
	Client  dynamic.Interface
	Clock   clock.PassiveClock
}

// Issuer has certificates issued by one issuer.
type Issuer struct {
	Options
	requests dynamic.ResourceInterface
}

// New asks nobody yet.
func New(o Options) *Issuer {
	if o.Group == "" {
		o.Group = Requests.Group
	}
	if o.Kind == "" {
		o.Kind = "Issuer"
	}
	if o.Timeout == 0 {
		o.Timeout = usualTimeout
	}
	return &Issuer{Options: o, requests: o.Client.Resource(Requests).Namespace(o.Namespace)}
}

// Name is <kind>[.<group>]/[<namespace>/]<name>, such as ClusterIssuer/mesh. The namespace is
// left out where cert-manager has none; of other groups that is not known.
func (i *Issuer) Name() string {
	kind := i.Kind
	if i.Group != Requests.Group {
		kind += "." + i.Group
	} else if i.Kind == "ClusterIssuer" {
		return kind + "/" + i.Options.Name
	}
	return kind + "/" + i.Namespace + "/" + i.Options.Name
}

// Issue makes a request, or finds the one that an earlier call has left, and waits until it is
// approved and signed. One that is decided on is removed.
func (i *Issuer) Issue(ctx context.Context, request pki.Request, csr []byte) (chain, roots []byte, err error) {
	if err := checkNames(request, csr); err != nil {
		return nil, nil, i.failure(pki.Invalid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, i.Timeout)
	defer cancel()
	made, err := i.open(ctx, i.object(request, csr))
	if err != nil {
		return nil, nil, err
	}
	signed, decided, err := i.signed(ctx, made)
	if decided {
		defer i.remove(ctx, made.GetName())
	}
	if err != nil {
		return nil, nil, err
	}
	if chain, roots, err = signed.check(request, i.Clock.Now()); err != nil {
		return nil, nil, i.failure(pki.Invalid, err)
	}
	return chain, roots, nil
}

// open makes a request. The same signing request to the same issuer is the same request: that
// of an earlier call goes on, unless it has waited for too long.
func (i *Issuer) open(ctx context.Context, asked *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	made, err := i.requests.Create(ctx, asked, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		made, err = i.requests.Get(ctx, asked.GetName(), metav1.GetOptions{})
		if err == nil && i.Clock.Since(made.GetCreationTimestamp().Time) > Kept {
			i.remove(ctx, made.GetName())
			made, err = i.requests.Create(ctx, asked, metav1.CreateOptions{})
		}
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, i.failure(pki.Missing, fmt.Errorf("make a CertificateRequest: %w: install cert-manager, and see that namespace %s exists", err, i.Namespace))
	case apierrors.IsInvalid(err):
		return nil, i.failure(pki.Invalid, fmt.Errorf("make a CertificateRequest: %w", err))
	case err != nil:
		return nil, i.failure(pki.Failed, fmt.Errorf("make a CertificateRequest: %w", err))
	}
	return made, nil
}

// Sweep removes, of all namespaces, the requests that were made before a time: nobody has the
// keys any more of those that a manager has left which died.
func Sweep(ctx context.Context, client dynamic.Interface, before time.Time) error {
	left, err := client.Resource(Requests).List(ctx, metav1.ListOptions{LabelSelector: managedBy + "=" + manager})
	if apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("list CertificateRequests: %w", err)
	}
	var failed []error
	for _, request := range left.Items {
		if request.GetCreationTimestamp().Time.Before(before) {
			err := client.Resource(Requests).Namespace(request.GetNamespace()).Delete(ctx, request.GetName(), metav1.DeleteOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}

func (i *Issuer) failure(reason pki.IssueReason, err error) error {
	return &pki.IssueError{Reason: reason, Issuer: i.Name(), Err: err}
}

func (i *Issuer) object(request pki.Request, csr []byte) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"request":   base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
		"duration":  request.Lifetime.String(),
		"isCA":      false,
		"usages":    []any{"digital signature", "server auth", "client auth"},
		"issuerRef": map[string]any{"group": i.Group, "kind": i.Kind, "name": i.Options.Name},
	}}}
	o.SetAPIVersion(Requests.GroupVersion().String())
	o.SetKind("CertificateRequest")
	name := request.Identity.ServiceAccount
	same := sha256.Sum256(append([]byte(i.Name()), csr...))
	o.SetName("fairlead-" + name[:min(len(name), 200)] + "-" + hex.EncodeToString(same[:10]))
	o.SetLabels(map[string]string{managedBy: manager})
	o.SetAnnotations(map[string]string{forIdentity: request.Identity.String()})
	if i.Owner != nil {
		o.SetOwnerReferences([]metav1.OwnerReference{*i.Owner})
	}
	return o
}

// remove works after the end of the context, too. What it leaves is found by Sweep.
func (i *Issuer) remove(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleaning)
	defer cancel()
	_ = i.requests.Delete(ctx, name, metav1.DeleteOptions{})
}
