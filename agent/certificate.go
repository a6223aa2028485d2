package main

import (
	"context"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/agent/metrics"
)

// noteCertificate makes known what there is, if there is something, and has it proven.
func (a *agent) noteCertificate() {
	a.client.Note()
	now := a.folder.Status()
	if now.Certificate == nil {
		return
	}
	a.count.CertificatesExpire(now.Certificate.Expires, now.Certificate.RootsExpire)
	select {
	case a.proving <- struct{}{}:
	default:
	}
}

// certificateChanged follows a new generation. Envoy takes it by itself, since it watches
// the folder; a restart is for those who want one, and for the first certificate where
// none was expected.
func (a *agent) certificateChanged(c certs.Certificate) {
	a.noteCertificate()
	a.mu.Lock()
	byRestart := a.settings.certificateReload == reloadByHotRestart
	a.mu.Unlock()
	switch {
	case a.reload():
		a.supervisor.Restart("there is a certificate now")
	case byRestart:
		a.supervisor.Restart("the certificate changed to serial " + c.Serial)
	}
}

// prove finds out whether Envoy serves each new generation. A later one takes the place
// of one that is not proven yet.
func (a *agent) prove(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.proving:
		}
		if err := a.folder.Prove(ctx); err != nil {
			continue
		}
		a.count.CertificateChanged(metrics.Succeeded)
		a.client.Note()
	}
}
