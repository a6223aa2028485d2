package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/cmd/fairlead/internal/objects"
	"fairlead.dev/fairlead/config"
)

// fieldManager owns what `fairlead up` applies.
const fieldManager = "fairlead-up"

// retryInterval is how soon a request is made again that the API server refused because
// it was still starting.
const retryInterval = 25 * time.Millisecond

// definitions are the CRDs and the manager's rights, as config/ has them.
func definitions() (crds, manager []*unstructured.Unstructured, err error) {
	files, err := config.CRDs()
	if err != nil {
		return nil, nil, err
	}
	for _, file := range files {
		parsed, err := parseObjects(file.YAML)
		if err != nil {
			return nil, nil, fmt.Errorf("embedded %s: %w", file.FileName, err)
		}
		crds = append(crds, parsed...)
	}
	rights, err := config.ManagerAccess()
	if err != nil {
		return nil, nil, err
	}
	for _, document := range rights {
		parsed, err := parseObjects(document)
		if err != nil {
			return nil, nil, fmt.Errorf("embedded rights of the manager: %w", err)
		}
		manager = append(manager, parsed...)
	}
	return crds, manager, nil
}

func parseObjects(content []byte) ([]*unstructured.Unstructured, error) {
	var parsed []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return parsed, nil
		} else if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			parsed = append(parsed, object)
		}
	}
}

// applyAll applies the objects in their order, as often as it takes.
func applyAll(ctx context.Context, c client.Client, list []*unstructured.Unstructured) error {
	for _, object := range list {
		err := retry(ctx, func() error {
			return c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object.DeepCopy()), client.FieldOwner(fieldManager), client.ForceOwnership)
		})
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

// retry calls f until it succeeds. It is for the first moments of an API server, in
// which it refuses for many passing reasons.
func retry(ctx context.Context, f func() error) error {
	ticker := time.NewTicker(retryInterval)
	defer ticker.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
				return cause
			}
			return err
		case <-ticker.C:
		}
	}
}

// awaitKinds returns once the kinds that the CRDs define can be watched, side by side: the
// API server begins to prepare that with the first request, and a client that comes too
// early is told to come again after a whole second.
func awaitKinds(ctx context.Context, admin *rest.Config, crds []*unstructured.Unstructured) error {
	httpClient, err := rest.HTTPClientFor(admin)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, crd := range crds {
		plural, _, err := unstructured.NestedString(crd.Object, "spec", "names", "plural")
		if err != nil {
			return err
		}
		// What client-go's informers ask first.
		address := admin.Host + "/apis/" + meshv1alpha1.GroupVersion.String() + "/" + plural +
			"?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
		group.Go(func() error {
			return retry(ctx, func() error { return firstEvent(ctx, httpClient, address) })
		})
	}
	return group.Wait()
}

// firstEvent returns nil once a watch has given an event, which is a bookmark at least.
func firstEvent(ctx context.Context, c *http.Client, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := c.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("watch %s: %s", request.URL.Path, response.Status)
	}
	var event json.RawMessage
	if err := json.NewDecoder(response.Body).Decode(&event); err != nil {
		return fmt.Errorf("watch %s: %w", request.URL.Path, err)
	}
	return nil
}

// putNode creates the Node on which every workload is said to run, or mends the one of
// the last start. No kubelet keeps it: what is written here stays.
func putNode(ctx context.Context, c client.Client, place Place) error {
	node := &corev1.Node{}
	node.Name = objects.NodeName
	err := retry(ctx, func() error {
		err := c.Get(ctx, client.ObjectKeyFromObject(node), node)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		found := err == nil
		node.Labels = map[string]string{
			corev1.LabelHostname:       objects.NodeName,
			corev1.LabelOSStable:       runtime.GOOS,
			corev1.LabelArchStable:     runtime.GOARCH,
			corev1.LabelTopologyRegion: place.Region,
			corev1.LabelTopologyZone:   place.Zone,
		}
		if found {
			return c.Update(ctx, node)
		}
		return c.Create(ctx, node)
	})
	if err != nil {
		return fmt.Errorf("create Node %s: %w", objects.NodeName, err)
	}
	now := metav1.Now()
	node.Status.Conditions = []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue,
		Reason: "FairleadUp", Message: "workloads are started with `fairlead run`",
		LastHeartbeatTime: now, LastTransitionTime: now,
	}}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: objects.NodeName}}
	node.Status.NodeInfo.OperatingSystem, node.Status.NodeInfo.Architecture = runtime.GOOS, runtime.GOARCH
	if err := retry(ctx, func() error { return c.Status().Update(ctx, node) }); err != nil {
		return fmt.Errorf("status of Node %s: %w", objects.NodeName, err)
	}
	return nil
}

// newClient needs no discovery: it knows the kinds that are used here.
func newClient(admin *rest.Config) (client.Client, error) {
	mapper := objects.Mapper()
	mapper.Add(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"), meta.RESTScopeRoot)
	mapper.Add(rbacv1.SchemeGroupVersion.WithKind("ClusterRole"), meta.RESTScopeRoot)
	mapper.Add(rbacv1.SchemeGroupVersion.WithKind("ClusterRoleBinding"), meta.RESTScopeRoot)
	mapper.Add(rbacv1.SchemeGroupVersion.WithKind("Role"), meta.RESTScopeNamespace)
	mapper.Add(rbacv1.SchemeGroupVersion.WithKind("RoleBinding"), meta.RESTScopeNamespace)
	return client.New(admin, client.Options{Scheme: objects.Scheme(), Mapper: mapper})
}
