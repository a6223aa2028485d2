package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// APIServer is a real kube-apiserver with its etcd, with Fairlead's CRDs installed. There
// are no controllers and no kubelet behind it: nothing but the test changes what it holds,
// and a namespace that is deleted stays.
type APIServer struct {
	// Config is an administrator's.
	Config *rest.Config
	// Kubeconfig is the path of the same as a file.
	Kubeconfig string

	programs    string
	environment *envtest.Environment
	dir         string
}

// StartAPIServer starts an API server; a suite does so once. Stop it when nothing watches
// any more: with a watch open, the API server takes 20 seconds to end.
func StartAPIServer() (_ *APIServer, err error) {
	programs, err := KubernetesPrograms()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fairlead-apiserver-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the API server: %w", err)
	}
	s := &APIServer{programs: programs, dir: dir, Kubeconfig: filepath.Join(dir, "kubeconfig")}
	s.environment = &envtest.Environment{
		BinaryAssetsDirectory: programs,
		CRDDirectoryPaths:     []string{filepath.Join(Root(), "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	if s.Config, err = s.environment.Start(); err != nil {
		return nil, fmt.Errorf("start the API server: %w", err)
	}
	user, err := s.environment.AddUser(envtest.User{Name: "tester", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return nil, fmt.Errorf("add the user of kubectl: %w", err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return nil, fmt.Errorf("make the kubeconfig: %w", err)
	}
	if err = os.WriteFile(s.Kubeconfig, kubeconfig, 0o600); err != nil {
		return nil, fmt.Errorf("write the kubeconfig: %w", err)
	}
	return s, nil
}

// Stop ends the API server and its etcd, and removes their files.
func (s *APIServer) Stop() error {
	return errors.Join(s.environment.Stop(), os.RemoveAll(s.dir))
}

// Kubectl returns the real kubectl with the arguments given, ready to run against the
// API server. It is killed if the context ends first.
func (s *APIServer) Kubectl(ctx context.Context, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, filepath.Join(s.programs, "kubectl"), arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig, "KUBECACHEDIR="+filepath.Join(s.dir, "cache"))
	return command
}
