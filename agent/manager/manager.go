// Package manager is the agent's stream to the manager: by it the proxy gets its
// certificate, and tells what it really runs.
//
// The stream is the one of internal/agentapi. It goes over TLS 1.3 to a manager that
// proves to be the one that Envoy asks for its configuration too. The agent is known by
// its certificate or, as long as that is none or is not taken, by a token that is bound to
// its Pod. Keys are made here and go to package certs, which has them stored for Envoy;
// what is reported comes from there, from the supervisor and from Envoy's statistics.
//
// It never renews by itself what the manager plans to renew, save a certificate that is
// past nine tenths of its life; never gives up, however long the manager is away; never
// touches Envoy; and never tells anybody a key or a token, save the token to the manager.
package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"fairlead.dev/fairlead/agent/certs"
	"fairlead.dev/fairlead/agent/controlplane"
	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/pki"
)

const (
	// firstPause to longestPause are between the beginnings of two attempts.
	firstPause   = 250 * time.Millisecond
	longestPause = 30 * time.Second
	// welcomeTimeout is for connecting, and for the manager to ask the API server who we are.
	welcomeTimeout = 20 * time.Second
)

// Options are what a Client needs. All fields are required but those that say so.
type Options struct {
	// Node is <namespace>/<pod>, Version the agent's.
	Node, Version string
	// Target is where the manager is now, with the certificate that Envoy shows it.
	Target func() controlplane.Target
	// TokenFile holds the token for the first contact, and FirstRoots the roots by which
	// the manager is known then. Without TokenFile there is no other way than a certificate.
	TokenFile, FirstRoots string
	// Certificates are told in reports. With Algorithm, their keys are made of that kind
	// and certificates asked for; without, they come from elsewhere.
	Certificates *certs.Folder
	Algorithm    pki.KeyAlgorithm
	// Proxy is how Envoy is, and Count asks it what it counts. The latter is given two
	// seconds; an error means that nothing is known.
	Proxy func() envoy.Status
	Count func(context.Context) (envoy.Counts, error)
	// Clock and Random are the real ones unless given; Random is from [0, 1).
	Clock  clock.Clock
	Random func() float64
	Log    *slog.Logger
}

// Client keeps the stream. Make it with New and call Run once; everything else may be
// called at any time from anywhere.
type Client struct {
	options Options
	noted   chan struct{}

	// The following belong to the goroutine that runs Run.

	// byToken: a certificate that is there was not taken.
	byToken bool
	// wanted is why a certificate is asked for; empty if it is not. notBefore is when.
	wanted    string
	notBefore time.Time
	// unissued is why the manager issues none, or none that can be taken.
	unissued string
	requests uint64
	// asked is what was asked for last and is not decided on, over streams and refusals that
	// pass: where a person approves, it has to be the same until then.
	asked *asked
	tally tally
	// told is what was logged last of the stream's end.
	told string

	mu     sync.Mutex
	status Status
}

// Status is how the stream is.
type Status struct {
	// Connected is since when the manager listens; zero while it does not.
	Connected time.Time `json:"connected,omitzero"`
	// Complaint is why it does not, or why it issues no certificate; empty if all is well.
	Complaint string `json:"complaint,omitempty"`
}

// New starts nothing.
func New(o Options) *Client {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return &Client{options: o, noted: make(chan struct{}, 1)}
}

// Status is how the stream is now. A nil Client has none.
func (c *Client) Status() Status {
	if c == nil {
		return Status{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Note says that there may be something to report. It waits for nothing, and does nothing
// on a nil Client.
func (c *Client) Note() {
	if c == nil {
		return
	}
	select {
	case c.noted <- struct{}{}:
	default:
	}
}

// Run keeps a stream until the context ends. One that ended is followed by the next at
// once, unless it was short: the manager bounds the age of each.
func (c *Client) Run(ctx context.Context) {
	pause := firstPause
	for {
		began := c.options.Clock.Now()
		err := c.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		c.disconnected(err)
		lasted := c.options.Clock.Since(began)
		if lasted > pause {
			pause = firstPause
		}
		// Half of it is chance, so that not all agents come at once.
		wait := time.Duration(float64(pause)*(1-c.options.Random()/2)) - lasted
		pause = min(2*pause, longestPause)
		if wait <= 0 {
			continue
		}
		timer := c.options.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
	}
}

// connect has one stream from its beginning to its end.
func (c *Client) connect(ctx context.Context) error {
	target, token, err := c.credentials()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// By the real clock, since what it bounds is the network.
	late := time.AfterFunc(welcomeTimeout, func() { cancel(fmt.Errorf("nothing in %s", welcomeTimeout)) })
	defer late.Stop()
	s, err := open(ctx, target, token, "fairlead-agent/"+c.options.Version, c.hello())
	if err == nil {
		defer s.close()
		var welcome *agentapi.Welcome
		if welcome, err = s.welcome(); err == nil {
			late.Stop()
			c.byToken = false
			c.connected(target, token)
			return c.converse(ctx, s, welcome, target)
		}
	}
	if refusesCaller(err) {
		// Then the other way, if there is one.
		c.byToken = token == ""
	}
	return err
}

// credentials are by certificate if there is one that can be shown, else by token.
func (c *Client) credentials() (target controlplane.Target, token string, err error) {
	target = c.options.Target()
	if c.options.FirstRoots != "" {
		target.Roots = append(target.Roots, c.options.FirstRoots)
	}
	if target.Address == "" {
		return target, "", errors.New("the manager is reached by a Unix socket now, where there is no stream: restart the Pod to do without")
	}
	own := c.options.Certificates.Status().Certificate
	shown := own != nil && c.options.Clock.Now().Before(own.Expires)
	switch {
	case shown && (!c.byToken || c.options.TokenFile == ""):
		return target, "", nil
	case c.options.TokenFile == "":
		return target, "", errors.New("there is no valid certificate to be known by: mount one, or give --token-file")
	}
	target.Certificate, target.Key = "", ""
	content, err := os.ReadFile(c.options.TokenFile)
	if err != nil {
		return target, "", fmt.Errorf("read the token: %w: mount one for the audience fairlead, or correct --token-file", err)
	}
	// No header could carry anything else.
	if token = strings.TrimSpace(string(content)); token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return target, "", fmt.Errorf("%s holds no token: mount one for the audience fairlead, or correct --token-file", c.options.TokenFile)
	}
	return target, token, nil
}

func (c *Client) connected(target controlplane.Target, token string) {
	by := "certificate"
	if token != "" {
		by = "token"
	}
	// Not each time that a stream of bounded age is followed by another one.
	if news := "connected to " + target.String() + " by " + by; news != c.told {
		c.options.Log.Info("Connected to the manager", "address", target.String(), "knownBy", by)
		c.told = news
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = Status{Connected: c.options.Clock.Now(), Complaint: c.unissued}
}

func (c *Client) disconnected(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.status.Connected.IsZero() {
		// By its age or with the manager: whether there is one, the next attempt tells.
		c.status = Status{}
		c.options.Log.Debug("The stream to the manager ended", "error", err)
		return
	}
	c.status.Complaint = err.Error()
	if c.told != c.status.Complaint {
		c.told = c.status.Complaint
		c.options.Log.Warn("There is no stream to the manager; the proxy goes on with the certificate that it has", "error", err)
	}
}

// complain says why no certificate is issued; nothing is wrong if the text is empty.
func (c *Client) complain(text string) {
	c.unissued = text
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Complaint = text
}
