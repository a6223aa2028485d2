package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/api/v1alpha1"
)

// kindsInterval is the time between two looks at what the API server offers.
const kindsInterval = 250 * time.Millisecond

// AwaitKinds waits until the API server offers the kinds that are read here and lets this
// user see them. Both may lag: CRDs are often applied together with the manager, and an
// API server that has just started answers before it knows its roles. The error is the
// last reason for waiting.
func AwaitKinds(ctx context.Context, access *rest.Config, timeout time.Duration, log *slog.Logger) error {
	client, err := discovery.NewDiscoveryClientForConfig(access)
	if err != nil {
		return fmt.Errorf("make a client for %s: %w", access.Host, err)
	}
	var last error
	told := false
	err = wait.PollUntilContextTimeout(ctx, kindsInterval, timeout, true, func(ctx context.Context) (bool, error) {
		last = offersKinds(ctx, client)
		if last != nil && !told {
			log.Info("Waiting for the API server", "api", access.Host, "reason", last)
			told = true
		}
		return last == nil, nil
	})
	if err != nil && last != nil {
		return fmt.Errorf("API server %s: %w", access.Host, last)
	}
	return err
}

// offersKinds returns what is missing of the kinds that are read.
func offersKinds(ctx context.Context, client discovery.DiscoveryInterfaceWithContext) error {
	for _, wanted := range []struct {
		version   schema.GroupVersion
		resources []string
		fix       string
	}{
		{corev1.SchemeGroupVersion, []string{"configmaps", "namespaces", "nodes", "pods", "services"}, "is it a Kubernetes API server?"},
		{discoveryv1.SchemeGroupVersion, []string{"endpointslices"}, "Kubernetes 1.21 or newer is needed"},
		{appsv1.SchemeGroupVersion, []string{"controllerrevisions"}, "Kubernetes 1.21 or newer is needed"},
		{v1alpha1.GroupVersion, []string{"virtualservices", "routerules", "destinationrules", "serviceentries", "gateways", "meshcertificates"}, "install the CRDs of this version, for example by `make install`"},
	} {
		offered, err := client.ServerResourcesForGroupVersionWithContext(ctx, wanted.version.String())
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("ask for the kinds of %s: %w", wanted.version, err)
		}
		names := map[string]bool{}
		if err == nil {
			for i := range offered.APIResources {
				names[offered.APIResources[i].Name] = true
			}
		}
		var missing []error
		for _, resource := range wanted.resources {
			if !names[resource] {
				missing = append(missing, fmt.Errorf("%s of %s are not known: %s", resource, wanted.version, wanted.fix))
			}
		}
		if len(missing) > 0 {
			return errors.Join(missing...)
		}
	}
	return nil
}
