package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// findEnvoy returns the absolute path of an executable Envoy.
func findEnvoy(given string) (string, error) {
	const fix = "give the path of an Envoy binary; in Fairlead's repository \"make envoy\" fetches one into bin/"
	candidates := []string{given}
	if given == "" {
		candidates = []string{"envoy"}
		if self, err := os.Executable(); err == nil {
			candidates = []string{filepath.Join(filepath.Dir(self), "envoy"), "envoy"}
		}
	}
	for _, candidate := range candidates {
		if path, err := exec.LookPath(candidate); err == nil {
			return filepath.Abs(path)
		} else if given != "" {
			return "", fmt.Errorf("--envoy: %w: %s", err, fix)
		}
	}
	return "", fmt.Errorf("--envoy is missing, and there is no Envoy at %s or in PATH: %s", candidates[0], fix)
}
