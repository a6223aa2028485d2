package main

import "strings"

func (s *settings) help() string {
	var b strings.Builder
	switch s.Command {
	case "proxy":
		b.WriteString("Starts Envoy, stays with it, and ends when it ends. SIGTERM and SIGINT stop both.\n")
	case "bootstrap":
		b.WriteString("Prints the Envoy bootstrap that \"fairlead-agent proxy\" with the same flags would use.\nIt starts nothing and touches no file.\n")
	}
	b.WriteString("\nUsage:\n  fairlead-agent " + s.Command +
		" --pod-name NAME --pod-namespace NAMESPACE (--xds-socket PATH | --xds-address HOST:PORT) [flags]\n")
	b.WriteString(s.Usages())
	b.WriteString(`What neither gives is taken from the file of --config, if there is one: lines "flag = value", empty
lines, and comments that begin with '#'. A flag that takes a list may have several lines.
`)
	if s.Command == "proxy" {
		b.WriteString(`
Status:
  GET  /ready            200 while Envoy is live, else 503; the body says why. Also /healthz/ready
  GET  /status           JSON: state, reason, since, epoch, pid, node and more
  GET  /metrics          the agent's own, Envoy's and those of --app-metrics, in Prometheus' text format
  GET  /app-health/...   the probes of --app-probes, handed on to the application
  POST /quitquitquit     stop gracefully; from the same Pod only
States: starting, live, unresponsive, draining, backing-off, failed.

Exit status: 0 if it was told to stop, 1 if Envoy failed, 2 if the flags are wrong.
`)
	}
	return b.String()
}
