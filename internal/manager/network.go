package manager

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/internal/agents"
	"fairlead.dev/fairlead/internal/mesh"
	"fairlead.dev/fairlead/internal/pki"
	"fairlead.dev/fairlead/internal/publish"
	"fairlead.dev/fairlead/internal/settings"
	"fairlead.dev/fairlead/internal/validate"
	"fairlead.dev/fairlead/internal/xds"
	"fairlead.dev/fairlead/webhooks"
)

// network puts together what agents and proxies are served by over the network; nil: nothing is.
func network(m manager.Manager, s Options, held *settings.Holder, by *certified, store *mesh.Store, publisher *publish.Publisher, log *slog.Logger) (*xds.Network, error) {
	if s.XDSAddress == "" {
		return nil, nil
	}
	wallClock := clock.RealClock{}
	authenticator := &agents.Authenticator{
		Source: by.source, TrustDomain: by.own.TrustDomain, Review: agents.NewTokenReviewer(m.GetClient()).Review, Clock: wallClock, Metrics: by.counts,
	}
	relay, err := relayToLeader(m, s, store, by.own, by.serving)
	if err != nil {
		return nil, err
	}
	server := agents.NewServer(agents.Options{
		Table: by.agents, Source: by.source, Admit: publisher.Admit, TrustDomain: by.own.TrustDomain,
		Issue: by.issuers.IssueForMesh, Lifetime: func(who pki.Identity) time.Duration {
			return by.engine.Lifetime(who, held.Get().Certificates.Duration)
		},
		MaxAge: func() time.Duration { return held.Get().MaxConnectionAge },
		Relay:  relay, Clock: wallClock, Log: log, Metrics: by.counts,
	})
	return &xds.Network{
		Address: s.XDSAddress, TLS: agents.AskingTLS(by.serving.ServerConfig()),
		Authenticate: authenticator.Authenticate, Services: server.Register,
		MaxConnectionAge: held.Get().MaxConnectionAge,
	}, nil
}

// relayToLeader takes agents that come in here to the replica that leads; nil: there is one only.
func relayToLeader(m manager.Manager, s Options, store *mesh.Store, own pki.Identity, serving *pki.Serving) (*agents.Relay, error) {
	if !s.LeaderElect {
		return nil, nil
	}
	_, port, err := net.SplitHostPort(s.XDSAddress)
	if err != nil {
		return nil, fmt.Errorf("--xds-address %q: %w", s.XDSAddress, err)
	}
	leader := &controllers.Leader{
		Lease:     client.ObjectKey{Namespace: cmp.Or(s.LeaderElectionNamespace, s.Namespace), Name: leaseName},
		Namespace: s.Namespace, Port: port, Reader: m.GetAPIReader(), Store: store,
	}
	relay := &agents.Relay{
		Manager: own, Elected: m.Elected(), Leader: leader.Address, TLS: agents.CallingTLS(serving.ServerConfig(), own),
	}
	return relay, m.Add(relay)
}

// admit adds the webhooks, if they are asked for.
func admit(m manager.Manager, s Options, held *settings.Holder, by *certified, log *slog.Logger) error {
	if s.WebhookAddress == "" {
		return nil
	}
	listener, err := net.Listen("tcp", s.WebhookAddress)
	if err != nil {
		return fmt.Errorf("--webhook-address %s: %w", s.WebhookAddress, err)
	}
	registration := &webhooks.Registration{
		Client: m.GetClient(), Source: by.source, URL: webhooks.URL(listener.Addr()), Namespace: s.Namespace, Log: log,
	}
	if err := registration.Setup(m); err != nil {
		return err
	}
	return m.Add(&webhooks.Server{
		Listener: listener, TLS: by.serving.ServerConfig(), Log: log,
		Handler: webhooks.Handler(webhooks.Rules{
			Options: validate.Options{ClusterDomain: s.ClusterDomain}, Settings: held, Namespace: s.Namespace, Clock: clock.RealClock{},
		}),
	})
}
