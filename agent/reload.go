package main

import (
	"errors"
	"slices"

	"fairlead.dev/fairlead/agent/bootstrap"
	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/agent/envoy"
)

// inBootstrap are the flags that the bootstrap is made of: a successor of Envoy takes
// them, so they may change while the agent runs. What the agent itself was set up with
// stays as it is until its end.
var inBootstrap = []string{
	"pod-name", "pod-namespace", "service-account", "workload", "revision", "labels", "locality", "app",
	"xds-socket", "xds-address", "xds-server-name", "xds-protocol", "initial-fetch-timeout", "dns-family",
	"max-connections", "heap-limit",
}

// reload reads everything again and returns new settings, or every problem that it finds;
// the receiver stays as it is. Flags that changed, but cannot while the agent runs, are
// named, and have their former values in the new settings.
func (s *settings) reload() (next *settings, unchangeable []string, err error) {
	next = newSettings(s.Command)
	next.cgroupRoot = s.cgroupRoot
	// Copies of what was mounted once are still served, wherever the mount has gone.
	next.expectsCertificates = s.expectsCertificates
	refused, err := next.read(s.arguments, s.lookupEnv)
	if err != nil {
		return nil, nil, err
	}
	for name, value := range next.Values() {
		if value == s.raw[name] || slices.Contains(inBootstrap, name) {
			continue
		}
		unchangeable = append(unchangeable, name)
		if err := next.Put(name, s.raw[name]); err != nil {
			refused = append(refused, err)
		}
	}
	slices.Sort(unchangeable)
	next.raw = next.Values()
	if err := errors.Join(append(refused, next.Locate(next.interpret())...)...); err != nil {
		return nil, nil, err
	}
	return next, unchangeable, nil
}

// bootstrapOf is what the bootstrap of an epoch is made of.
func (s *settings) bootstrapOf(epoch int) bootstrap.Config {
	c := s.bootstrap
	c.PressureFile = envoy.PressureFile(s.dir, epoch)
	c.SystemRoots = systemRoots()
	if s.expectsCertificates {
		paths := certs.PathsIn(s.dir)
		c.CertsDir, c.ProofSocket = paths.Folder, paths.ProofSocket
	}
	return c
}
