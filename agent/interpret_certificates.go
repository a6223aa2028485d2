package main

import (
	"path/filepath"
	"slices"

	"fairlead.dev/fairlead/agent/flags"
	"fairlead.dev/fairlead/agent/manager"
	"fairlead.dev/fairlead/internal/pki"
)

func (s *settings) interpretCertificates(found *flags.Problems) {
	if s.certificateReload != reloadBySDS && s.certificateReload != reloadByHotRestart {
		found.Add("certificate-reload", "is %q: use %s or %s", s.certificateReload, reloadBySDS, reloadByHotRestart)
	}
	if !slices.Contains(manager.Algorithms, pki.KeyAlgorithm(s.keyAlgorithm)) {
		found.Add("key-algorithm", "is %q: use one of %v", s.keyAlgorithm, manager.Algorithms)
	}
	for name, path := range map[string]*string{"certs-dir": &s.certsDir, "token-file": &s.tokenFile, "manager-roots": &s.managerRoots} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			found.Add(name, "%w", err)
		}
		*path = absolute
	}
	switch s.certificateSource {
	case fromMount:
		if s.certsDir == "" {
			found.Add("certs-dir", "is empty: name the folder in which certificates are, or will be")
		}
	case fromManager:
		for _, needed := range []struct{ flag, value, what string }{
			{"xds-address", s.xdsAddress, "the manager's HOST:PORT; by a Unix socket it issues none"},
			{"token-file", s.tokenFile, "the path of a token, by which the manager knows whom the first certificate is for"},
			{"manager-roots", s.managerRoots, "the path of the mesh's roots, by which the agent knows the manager"},
		} {
			if needed.value == "" {
				found.Add(needed.flag, "is missing, but certificates come from the manager: give %s", needed.what)
			}
		}
	default:
		found.Add("certificate-source", "is %q: use %s or %s", s.certificateSource, fromMount, fromManager)
	}
}
