package cluster

import (
	"fmt"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fairlead.dev/fairlead/cmd/fairlead/internal/datadir"
	"fairlead.dev/fairlead/cmd/fairlead/internal/objects"
)

// managerUser is the name by which config/rbac knows the manager: its service account.
// Bindings are to that name, so the same ones hold here, where a certificate says it.
const managerUser = "system:serviceaccount:fairlead-system:fairlead-manager"

// access is who may call the API server, and how.
type access struct {
	// admin is for `fairlead up` itself.
	admin *rest.Config
	// Files for the programs.
	serverCertificate, serverKey, authority, tokenKey string
	controllerManager, manager                        string
}

// grantAccess makes certificates and kubeconfigs. New ones are issued at each start; the
// authority and the key of tokens stay.
func grantAccess(dir datadir.Dir, port uint16, now time.Time) (access, error) {
	in := func(name string) string { return filepath.Join(dir.PKI(), name) }
	granted := access{
		serverCertificate: in("kube-apiserver.crt"), serverKey: in("kube-apiserver.key"),
		authority: in("ca.crt"), tokenKey: in("service-account.key"),
		controllerManager: in("kube-controller-manager.kubeconfig"), manager: in("fairlead-manager.kubeconfig"),
	}
	ca, err := loadAuthority(dir.PKI(), now)
	if err != nil {
		return granted, err
	}
	if err := keepTokenKey(granted.tokenKey); err != nil {
		return granted, fmt.Errorf("key of service account tokens: %w", err)
	}
	server, err := ca.server(now)
	if err != nil {
		return granted, err
	}
	if err := writeFile(granted.serverCertificate, server.certificate); err != nil {
		return granted, err
	}
	if err := writeFile(granted.serverKey, server.key); err != nil {
		return granted, err
	}
	for _, user := range []struct {
		file, name string
		groups     []string
	}{
		{granted.controllerManager, "system:kube-controller-manager", nil},
		{granted.manager, managerUser, []string{"system:serviceaccounts", "system:serviceaccounts:" + objects.ManagerNamespace}},
		// Written last: where it is new, the rest is.
		{dir.Kubeconfig(), "fairlead-admin", []string{"system:masters"}},
	} {
		certificate, err := ca.client(user.name, user.groups, now)
		if err != nil {
			return granted, err
		}
		config := kubeconfig(ca, certificate, user.name, port)
		content, err := clientcmd.Write(config)
		if err != nil {
			return granted, fmt.Errorf("kubeconfig of %s: %w", user.name, err)
		}
		if err := writeFile(user.file, content); err != nil {
			return granted, err
		}
		granted.admin, err = clientcmd.NewDefaultClientConfig(config, nil).ClientConfig()
		if err != nil {
			return granted, fmt.Errorf("kubeconfig of %s: %w", user.name, err)
		}
	}
	return granted, nil
}

// kubeconfig holds everything inline, so that the file can be copied.
func kubeconfig(ca *authority, certificate pair, user string, port uint16) clientcmdapi.Config {
	const name = "fairlead"
	config := *clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{
		Server:                   fmt.Sprintf("https://127.0.0.1:%d", port),
		CertificateAuthorityData: ca.pem,
	}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: certificate.certificate, ClientKeyData: certificate.key}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: user}
	config.CurrentContext = name
	return config
}
