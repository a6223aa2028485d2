package main

import (
	"os"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/flags"
)

// interpret turns the flags' text into what the rest of the agent uses.
func (s *settings) interpret() []error {
	var found flags.Problems
	var err error
	if s.dir, err = envoy.DirPath(s.dir); err != nil {
		found.Add("dir", "%w", err)
	}
	s.bootstrap = bootstrap.Config{
		AgentVersion: version, AdminSocket: envoy.AdminSocket(s.dir), MaxConnections: s.maxConnections,
	}
	s.interpretControlPlane(&found)
	s.interpretCertificates(&found)
	if _, err := os.Stat(s.certsDir); err == nil || s.xdsAddress != "" || s.certsDir != defaultCertsDir {
		s.expectsCertificates = true
	}
	s.interpretStatus(&found)
	s.interpretWorkload(&found)
	s.checkNumbers(&found)
	s.checkTimes(&found)
	s.interpretHeapLimit(&found)
	s.interpretLogs(&found)
	return found
}
