package workload

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/cmd/fairlead/internal/datadir"
	"fairlead.dev/fairlead/cmd/fairlead/internal/objects"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/settings"
)

// meshInfo is how an agent finds and knows the manager.
type meshInfo struct {
	// address is HOST:PORT, identity the name in the manager's certificate.
	address, identity string
	// roots are PEM.
	roots string
}

const rootsFile = "manager-roots.pem"

// meshOf returns an error as long as the manager serves no proxies.
func meshOf(ctx context.Context, c client.Client, dir datadir.Dir) (meshInfo, error) {
	var m meshInfo
	address, err := os.ReadFile(dir.XDSAddress())
	if err != nil {
		return m, fmt.Errorf("the manager's address is not known: %w", err)
	}
	m.address = string(address)
	connection, err := net.Dial("tcp", m.address)
	if err != nil {
		return m, fmt.Errorf("the manager does not serve proxies: %w", err)
	}
	if err := connection.Close(); err != nil {
		return m, err
	}
	if m.roots, err = entry(ctx, c, objects.TrustName, objects.TrustKey); err != nil {
		return m, err
	}
	text, err := entry(ctx, c, settings.Name, settings.Key)
	if err != nil {
		return m, err
	}
	// What cannot be used the manager does not use either.
	inForce, err := settings.Parse([]byte(text))
	if err != nil {
		inForce = settings.Default()
	}
	m.identity = pki.Identity{TrustDomain: inForce.TrustDomain, Namespace: objects.ManagerNamespace, ServiceAccount: managerAccount}.String()
	return m, nil
}

// managerAccount is what the manager runs as, by config/rbac.
const managerAccount = "fairlead-manager"

// entry returns one of a ConfigMap of the manager's.
func entry(ctx context.Context, c client.Client, name, key string) (string, error) {
	var object corev1.ConfigMap
	if err := c.Get(ctx, client.ObjectKey{Namespace: objects.ManagerNamespace, Name: name}, &object); err != nil {
		return "", fmt.Errorf("ConfigMap %s/%s: %w", objects.ManagerNamespace, name, err)
	}
	text, found := object.Data[key]
	if !found {
		return "", fmt.Errorf("ConfigMap %s/%s has no entry %s", objects.ManagerNamespace, name, key)
	}
	return text, nil
}

// writeRoots puts the roots where the agent is told to look.
func (m meshInfo) writeRoots(folder string) error {
	return replaceFile(filepath.Join(folder, rootsFile), m.roots)
}

// replaceFile writes a file so that nobody finds half of it.
func replaceFile(path, content string) error {
	err := os.WriteFile(path+".new", []byte(content), 0o600)
	if err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
