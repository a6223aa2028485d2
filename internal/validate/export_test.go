package validate

import (
	"maps"
	"slices"
)

// ListedFields returns the fields of which the tables say something.
func ListedFields(kind string) []string {
	return slices.Concat(unimplemented[kind], slices.Sorted(maps.Keys(partial[kind])), slices.Sorted(maps.Keys(differences[kind])))
}

// Differences returns what the tables say of implemented fields.
func Differences(kind string) map[string]string { return differences[kind] }
