// Package config gives programs the CustomResourceDefinitions that are generated into
// crd/bases, so that `fairlead up` can install exactly those which its own types were
// compiled with. It holds no logic; the rest of the folder is kustomize's and is not
// embedded.
package config

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed crd/bases/*.yaml
var crds embed.FS

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
