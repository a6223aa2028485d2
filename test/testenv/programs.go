// Package testenv finds and starts the real programs that suites run against: the
// Kubernetes API server and etcd, kubectl, Envoy.
//
// It holds no assertion and no fake. Programs come from bin/, where `make kube envoy`
// put them, or from where KUBEBUILDER_ASSETS and ENVOY_BIN point.
package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Root returns the repository's root.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	if !filepath.IsAbs(file) {
		// Built with -trimpath: tests run in their package's folder.
		dir, err := os.Getwd()
		for err == nil && dir != "/" {
			if _, err := os.Stat(filepath.Join(dir, "PROJECT")); err == nil {
				return dir
			}
			dir = filepath.Dir(dir)
		}
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// KubernetesPrograms returns the folder with etcd, kube-apiserver and kubectl.
func KubernetesPrograms() (string, error) {
	return find(os.Getenv("KUBEBUILDER_ASSETS"), filepath.Join(Root(), "bin", "k8s"), "kube-apiserver", "make kube", "KUBEBUILDER_ASSETS")
}

// Envoy returns the path of the Envoy binary.
func Envoy() (string, error) {
	return find(os.Getenv("ENVOY_BIN"), filepath.Join(Root(), "bin", "envoy"), "", "make envoy", "ENVOY_BIN")
}

func find(given, usual, inside, target, variable string) (string, error) {
	path := given
	if path == "" {
		path = usual
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(path, inside)); err != nil {
		return "", fmt.Errorf("%w: run `%s`, or set %s", err, target, variable)
	}
	return path, nil
}

// Build makes a program of this module, named by its package's path in it, as it is
// released: without the race detector that the tests themselves may run with.
func Build(program, source string) error {
	command := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, source)
	command.Dir = Root()
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", source, err, output)
	}
	return nil
}
