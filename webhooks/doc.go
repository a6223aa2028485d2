// Package webhooks will hold the admission endpoints: validation of our kinds and the
// injection of sidecars. They never default our kinds, which would show as drift in
// GitOps tools, and hold no rules of their own: package validate has them.
//
// Nothing is served here yet; docs/status.md says when it comes.
package webhooks
