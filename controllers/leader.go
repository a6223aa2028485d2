package controllers

import (
	"context"
	"fmt"
	"net"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/internal/mesh"
)

// Leader finds the replica that leads: by the lease the name of its Pod, by that its address.
type Leader struct {
	// Lease is the one that replicas are elected by.
	Lease client.ObjectKey
	// Namespace is the manager's.
	Namespace string
	// Port is the one on which every replica serves agents.
	Port   string
	Reader client.Reader
	Store  *mesh.Store
}

// Address returns HOST:PORT of the replica that leads.
func (l *Leader) Address(ctx context.Context) (string, error) {
	lease := &coordinationv1.Lease{}
	if err := l.Reader.Get(ctx, l.Lease, lease); err != nil {
		return "", fmt.Errorf("find the leader: %w", err)
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return "", fmt.Errorf("find the leader: nobody holds the lease %s", l.Lease)
	}
	// controller-runtime writes <host name>_<random>, and a Pod's host name is the Pod's name.
	host, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	pod := mesh.NamespacedName{Namespace: l.Namespace, Name: host}
	workload := l.Store.Workload(pod)
	if workload == nil {
		return "", fmt.Errorf("find the leader: there is no Pod %s that holds the lease %s", pod, l.Lease)
	}
	return net.JoinHostPort(workload.Address.String(), l.Port), nil
}
