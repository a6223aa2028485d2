package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// run starts everything, says so, and then looks after Pods until the context ends.
// Programs start as soon as what they need is there, side by side.
func (r *running) run(ctx context.Context, port uint16) error {
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	granted, err := grantAccess(r.dir, port, time.Now())
	if err != nil {
		return err
	}
	// The API server waits for etcd, and takes longer to get to that point than etcd
	// takes to be there.
	if err := r.start(etcdSpec(r.options.Programs, r.dir)); err != nil {
		return err
	}
	if err := r.start(apiServerSpec(r.options.Programs, r.dir, granted, port)); err != nil {
		return err
	}
	c, err := newClient(granted.admin)
	if err != nil {
		return err
	}
	// The first create of a new kind is held for 2 s from its CRD's birth on (the API
	// server's guard for several replicas), so the CRDs come before everything else.
	crds, manager, err := definitions()
	if err != nil {
		return err
	}
	if err := applyAll(starting, c, crds); err != nil {
		return fmt.Errorf("the API server did not get ready: %w", err)
	}
	r.say("the API server answers on 127.0.0.1:%d", port)

	if err := r.populate(starting, c, granted, crds, manager); err != nil {
		return err
	}
	cancel()
	orphans := &orphans{client: c, dir: r.dir}
	if err := orphans.sweepAll(ctx); err != nil {
		return err
	}
	r.welcome()
	return orphans.watch(ctx, r.say)
}

// populate does what needs an API server.
func (r *running) populate(ctx context.Context, c client.Client, granted access, crds, manager []*unstructured.Unstructured) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := putNode(ctx, c, r.options.Place); err != nil {
			return err
		}
		return r.start(controllerManagerSpec(r.options.Programs, r.dir, granted))
	})
	group.Go(func() error {
		if err := applyAll(ctx, c, manager); err != nil {
			return err
		}
		if err := putSettings(ctx, c, machineZone()); err != nil {
			return err
		}
		if err := awaitKinds(ctx, granted.admin, crds); err != nil {
			return fmt.Errorf("the CRDs were not served: %w", err)
		}
		if r.options.WithoutManager {
			r.say("no manager is started; to run one: fairlead-manager %s", strings.Join(managerArgs(granted, r.xds), " "))
			return nil
		}
		if err := r.start(managerSpec(r.options.Programs, r.dir, granted, r.xds, r.options.ManagerArgs)); err != nil {
			return err
		}
		// It serves proxies once it has read every object, and has an authority.
		if err := retry(ctx, func() error { return dialable(r.xds) }); err != nil {
			return fmt.Errorf("the manager did not get ready: %w", err)
		}
		r.say("the manager serves proxies on %s", r.xds)
		return nil
	})
	return group.Wait()
}
