package chaos

import (
	"maps"
	"slices"
	"testing"
)

// rows are all events, in the order of the page.
var rows = []row{
	{
		name: "hot-restart", event: "Hot restart (SIGHUP), as soon as the predecessor has ended",
		mayLose: nothing, times: 50, short: 5, rate: 1000, play: hotRestarts,
	},
	{
		name: "certificate", event: "Certificate changed under mutual TLS, its authority each time too",
		mayLose: nothing, times: 50, short: 5, rate: 1000, play: certificateChanges,
	},
	{
		name: "certificate-restart", event: "Certificate changed with --certificate-reload=hotRestart",
		mayLose: nothing, times: 5, play: certificateRestarts,
	},
	{
		name: "half-written", event: "Certificate files half written, in 6 ways",
		mayLose: nothing, times: 1, play: halfWritten,
	},
	{
		name: "kill-envoy", event: "kill -9 Envoy",
		mayLose: "what is under way, and what begins before it listens again", allowed: whileDown,
		times: 10, short: 1, play: killEnvoy,
	},
	{
		name: "kill-agent", event: "kill -9 the agent",
		mayLose: "what is under way, and what begins before another agent was started and listens", allowed: whileDown,
		times: 5, play: killAgent,
	},
	{
		name: "freeze", event: "SIGSTOP Envoy until it is noticed, then SIGCONT",
		mayLose: "nothing: requests wait", times: 2, play: freeze,
	},
	{
		name: "configuration", event: "Configuration file spoilt in 4 ways, then mended",
		mayLose: nothing, times: 1, play: corruptConfiguration,
	},
	{
		name: "full-disk", event: "Disk full while a hot restart is asked for",
		mayLose: nothing, times: 3, play: fullDisk,
	},
	{
		name: "control-plane", event: "Control plane gone, hot restart asked for meanwhile, control plane back",
		mayLose: nothing, times: 5, play: controlPlaneGone,
	},
	{
		name: "drain", event: "SIGTERM behind callers that follow EDS, which hear of it 0 to 2 s later",
		mayLose: nothing, times: 10, short: 1, play: drained,
	},
	{
		name: "stop-in-restart", event: "SIGTERM behind such callers, 0 to 200 ms after a hot restart was asked for",
		mayLose: nothing, times: 10, play: stoppedDuringRestart,
	},
	{
		name: "deadline", event: "SIGTERM, with streams and connections that do not end, and an application that does not either",
		mayLose: nothing, times: 1, play: outlived,
	},
	{
		name: "port-taken", event: "The port of one listener taken when Envoy starts",
		mayLose: "that listener, until the port is free and Envoy restarted; nothing else", times: 1, play: portTaken,
	},
	{
		name: "upgrade", event: "Envoy's binary replaced by another version, and back",
		mayLose: nothing, times: 4, play: upgrade,
	},
	{
		name: "broken-binary", event: "Envoy's binary replaced by a program that fails, then by a good one",
		mayLose: nothing, times: 1, play: brokenBinary,
	},
	{
		name: "another-protocol", event: "Envoy's binary replaced by one of another hot-restart version",
		mayLose: "what outlives the drain, and what begins between the old one's end and the new one's start", allowed: whileDown,
		times: 1, play: anotherProtocol,
	},
}

func TestChaos(t *testing.T) {
	var played []*scene
	for _, r := range rows {
		if full || r.short > 0 {
			t.Run(r.name, func(t *testing.T) { played = append(played, r.run(t)) })
		}
	}
	if !t.Failed() && len(played) == len(rows) {
		writePage(t, played)
	}
}

func sorted(counts map[string]int) []string { return slices.Sorted(maps.Keys(counts)) }
