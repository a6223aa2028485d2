package main

import (
	"context"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/agent/controlplane"
	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/manager"
	"fairlead.dev/fairlead/agent/metrics"
	"fairlead.dev/fairlead/internal/pki"
)

// newClient is for the stream to the manager; nil where the manager is reached by a Unix
// socket.
func (a *agent) newClient(statistics *metrics.Statistics, adminSocket string) *manager.Client {
	s := a.settings
	if s.xdsAddress == "" {
		return nil
	}
	algorithm := pki.KeyAlgorithm("")
	if s.certificateSource == fromManager {
		algorithm = pki.KeyAlgorithm(s.keyAlgorithm)
	}
	admin := envoy.NewAdmin(adminSocket)
	return manager.New(manager.Options{
		Node: a.node(), Version: version,
		Target: func() controlplane.Target {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.settings.controlPlane()
		},
		TokenFile: s.tokenFile, FirstRoots: s.managerRoots,
		Certificates: a.folder, Algorithm: algorithm, Proxy: a.supervisor.Status,
		Count: func(ctx context.Context) (counts envoy.Counts, err error) {
			err = statistics.Ask(ctx, func(ctx context.Context) error {
				counts, err = admin.Counts(ctx)
				return err
			})
			return counts, err
		},
		Log: a.log,
	})
}

// whyNone says why there is no certificate yet.
func (a *agent) whyNone(now certs.Status) string {
	switch {
	case now.Complaint != "":
		return now.Complaint
	case a.client.Status().Complaint != "":
		return a.client.Status().Complaint
	default:
		return "the manager was asked for one"
	}
}

// stream is a section of /status.
func (a *agent) stream() any {
	if a.client == nil {
		return nil
	}
	return a.client.Status()
}
