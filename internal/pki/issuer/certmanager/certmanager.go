// Package certmanager has certificates issued by whatever signs cert-manager's
// CertificateRequests: an Issuer, a ClusterIssuer, or one of another group.
//
// Each certificate is one CertificateRequest, for exactly one SPIFFE identity and no other
// name. It is made here, approved and signed by others, watched until it is, and removed
// afterwards. What comes back is taken only if it is what was asked for. The package reads no
// Secret and no issuer object, and approves nothing.
//
// It speaks to the API server by a dynamic client, which has no cache and needs no types: those
// of cert-manager would bring Gateway API's along, for one object with five fields.
// https://cert-manager.io/docs/usage/certificaterequest/
package certmanager

import (
	"context"
	"encoding/base64"
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
	"fairlead.dev/fairlead/internal/pki/issuer"
)

// Requests is the resource that certificates are asked for by.
var Requests = schema.GroupVersionResource{Group: "cert-manager.io", Version: "v1", Resource: "certificaterequests"}

const (
	// managedBy marks our requests, so that those of a manager that died are found.
	managedBy, manager = "app.kubernetes.io/managed-by", "fairlead"
	// forIdentity tells people whom a request is for.
	forIdentity = "mesh.fairlead.dev/identity"
	// usualTimeout is how long the signing may take unless told otherwise. Issuers that sign by
	// themselves take a second.
	usualTimeout = time.Minute
	// probeLifetime is the shortest that cert-manager documents as accepted.
	probeLifetime = time.Hour
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
	// Timeout is how long one certificate may take; 0: a minute.
	Timeout time.Duration
	Client  dynamic.Interface
	Clock   clock.PassiveClock
}

// Issuer is an issuer.Issuer.
type Issuer struct {
	Options
	requests dynamic.ResourceInterface
}

var _ issuer.Issuer = (*Issuer)(nil)

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

// Issue makes a request, waits until it is approved and signed, and removes it.
func (i *Issuer) Issue(ctx context.Context, request pki.Request, csr []byte) (chain, roots []byte, err error) {
	if err := checkNames(request.Identity, csr); err != nil {
		return nil, nil, i.failure(issuer.Invalid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, i.Timeout)
	defer cancel()
	made, err := i.requests.Create(ctx, i.object(request, csr), metav1.CreateOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil, i.failure(issuer.Missing, fmt.Errorf("make a CertificateRequest: %w: install cert-manager, and see that namespace %s exists", err, i.Namespace))
	case apierrors.IsInvalid(err):
		return nil, nil, i.failure(issuer.Invalid, fmt.Errorf("make a CertificateRequest: %w", err))
	case err != nil:
		return nil, nil, i.failure(issuer.Failed, fmt.Errorf("make a CertificateRequest: %w", err))
	}
	defer i.remove(ctx, made.GetName())
	signed, err := i.signed(ctx, made)
	if err != nil {
		return nil, nil, err
	}
	if chain, roots, err = signed.check(request, i.Clock.Now()); err != nil {
		return nil, nil, i.failure(issuer.Invalid, err)
	}
	return chain, roots, nil
}

// Generation asks for a certificate that nobody uses, to learn the root that the issuer gives
// at present. The generation has no number.
func (i *Issuer) Generation(ctx context.Context, identity pki.Identity) (*pki.Generation, error) {
	key, err := pki.ECDSAP256.NewKey()
	if err != nil {
		return nil, err
	}
	request := pki.Request{Identity: identity, PublicKey: key.Public(), Lifetime: probeLifetime}
	csr, err := pki.NewCSR(key, request)
	if err != nil {
		return nil, err
	}
	_, roots, err := i.Issue(ctx, request, csr)
	if err != nil {
		return nil, err
	}
	root, err := pki.ParseCertificates(roots)
	if err != nil {
		return nil, err
	}
	return pki.FromIssuer(i.Name(), root[0])
}

// Sweep removes what managers that died have left behind.
func (i *Issuer) Sweep(ctx context.Context) error {
	left, err := i.requests.List(ctx, metav1.ListOptions{LabelSelector: managedBy + "=" + manager})
	if apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return i.failure(issuer.Failed, fmt.Errorf("list CertificateRequests: %w", err))
	}
	var failed []error
	for _, request := range left.Items {
		// Those of other replicas may still be waited for.
		if i.Clock.Since(request.GetCreationTimestamp().Time) > 2*i.Timeout {
			if err := i.requests.Delete(ctx, request.GetName(), metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}

func (i *Issuer) failure(reason issuer.Reason, err error) error {
	return &issuer.Error{Reason: reason, Issuer: i.Name(), Err: err}
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
	o.SetGenerateName("fairlead-" + name[:min(len(name), 200)] + "-")
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
