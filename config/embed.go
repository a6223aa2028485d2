// Package config gives programs the CustomResourceDefinitions that are generated into
// crd/bases, and the manager's rights, so that `fairlead up` can install exactly those
// which its own types were compiled with. It holds no logic; the rest of the folder is
// kustomize's and is not embedded.
package config

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed crd/bases/*.yaml
var crds embed.FS

//go:embed manager/namespace.yaml rbac/service_account.yaml rbac/role.yaml rbac/role_binding.yaml
var managerAccess embed.FS

// managerAccessFiles are in the order in which they must be applied.
var managerAccessFiles = []string{
	"manager/namespace.yaml",
	"rbac/service_account.yaml",
	"rbac/role.yaml",
	"rbac/role_binding.yaml",
}

// CRD is one CustomResourceDefinition as controller-gen wrote it.
type CRD struct {
	// FileName is its base name: "<group>_<plural>.yaml".
	FileName string
	// YAML is the one document in the file.
	YAML []byte
}

// CRDs returns every CustomResourceDefinition of Fairlead, sorted by file name. The bytes
// are the caller's to keep.
func CRDs() ([]CRD, error) {
	names, err := fs.Glob(crds, "crd/bases/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list the embedded CRDs: %w", err)
	}
	list := make([]CRD, 0, len(names))
	for _, name := range names {
		data, err := crds.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read the embedded CRD %s: %w", name, err)
		}
		list = append(list, CRD{FileName: name[len("crd/bases/"):], YAML: data})
	}
	return list, nil
}

// ManagerAccess returns, as YAML files in the order in which they are to be applied, the
// manager's namespace, its service account, its role and their binding.
func ManagerAccess() ([][]byte, error) {
	files := make([][]byte, 0, len(managerAccessFiles))
	for _, name := range managerAccessFiles {
		data, err := managerAccess.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read the embedded %s: %w", name, err)
		}
		files = append(files, data)
	}
	return files, nil
}
