package agents

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/types/known/durationpb"

	"fairlead.dev/fairlead/internal/agentapi"
	"fairlead.dev/fairlead/internal/pki"
)

// TooManyRequests is the code of a Refused to an agent that asks for more than one certificate
// at a time, or more often than signingRate. Other codes are those of pki.IssueReason.
const TooManyRequests = "TooManyRequests"

const (
	// An agent asks once in weeks, and again after a failure. These bound what one that has
	// gone mad, or somebody in its place, costs the pki.
	signingRate  = rate.Limit(1.0 / 20) // per second
	signingBurst = 3
	// issueTimeout is longer than an approval by a person at their desk takes.
	issueTimeout = 5 * time.Minute
	// issueRetry is how long an agent waits after a failure that passes.
	issueRetry = 30 * time.Second
)

// request begins to answer a request, or refuses it at once.
func (c *conversation) request(ctx context.Context, request *agentapi.SigningRequest) *agentapi.FromManager {
	id := request.GetId()
	if c.asking {
		return c.refuse(id, TooManyRequests, "another request of this agent is under way: wait for its answer", issueRetry)
	}
	if wait := c.options.Table.spend(c.node); wait > 0 {
		return c.refuse(id, TooManyRequests, fmt.Sprintf("the agent may ask once in %s, after %d times in a row", time.Duration(float64(time.Second)/float64(signingRate)), signingBurst), wait)
	}
	key, err := pki.ParseCSR(request.GetCsr())
	if err != nil {
		return c.refuse(id, string(pki.Invalid), err.Error(), 0)
	}
	c.asking = true
	go func() {
		ctx, cancel := context.WithTimeout(ctx, issueTimeout)
		defer cancel()
		// There is room for one answer, and one request at a time.
		c.answers <- c.issue(ctx, request, key)
	}()
	return nil
}

// issue gets a certificate from the pki.
func (c *conversation) issue(ctx context.Context, request *agentapi.SigningRequest, key crypto.PublicKey) *agentapi.FromManager {
	chain, _, err := c.options.Issue(ctx, pki.Request{Identity: c.who, PublicKey: key, Lifetime: c.options.Lifetime(c.who)}, request.GetCsr())
	if err != nil {
		reason, wait := pki.Failed, issueRetry
		var known *pki.IssueError
		if errors.As(err, &known) {
			reason = known.Reason
		}
		if !pki.Retryable(err) {
			wait = 0
		}
		return c.refuse(request.GetId(), string(reason), err.Error(), wait)
	}
	c.options.Metrics.requests.WithLabelValues("Issued").Inc()
	c.log.Info("Issued a certificate to an agent", "identity", c.who.String())
	return &agentapi.FromManager{Message: &agentapi.FromManager_Issued{Issued: &agentapi.Issued{
		Id: request.GetId(), Chain: chain, Roots: c.bundle(),
	}}}
}

// refuse words the answer to a request that gets no certificate. Zero: it never will.
func (c *conversation) refuse(id uint64, code, text string, retryAfter time.Duration) *agentapi.FromManager {
	c.options.Metrics.requests.WithLabelValues(code).Inc()
	c.log.Warn("Refused a request for a certificate", "identity", c.who.String(), "code", code, "reason", text)
	refused := &agentapi.Refused{Id: id, Code: code, Message: text}
	if retryAfter > 0 {
		refused.RetryAfter = durationpb.New(retryAfter)
	}
	return &agentapi.FromManager{Message: &agentapi.FromManager_Refused{Refused: refused}}
}
