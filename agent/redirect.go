package main

import (
	"fmt"
	"io"
	"strings"

	"fairlead.dev/fairlead/agent/redirect"
)

// redirectTraffic is the command.
func redirectTraffic(args []string, lookupEnv func(string) (string, bool), stdout, stderr io.Writer) int {
	s := redirect.NewSettings()
	if status, end := readFlags(s.Command, s.Parse, s.Help, args, lookupEnv, stdout, stderr); end {
		return status
	}
	if s.DryRun {
		text := s.Config.Text()
		if s.Remove {
			text = redirect.RemovalText()
		}
		fmt.Fprint(stdout, text)
		return 0
	}
	apply, done := func() error { return redirect.Apply(s.Config) }, taken(s.Config)
	if s.Remove {
		apply, done = redirect.Remove, "nothing is led to Envoy any more"
	}
	if err := apply(); err != nil {
		fmt.Fprintf(stderr, "fairlead-agent redirect: %v\n", err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "fairlead-agent redirect: %s\n", done)
	return 0
}

func taken(config redirect.Config) string {
	var parts []string
	if config.Inbound != nil {
		parts = append(parts, fmt.Sprintf("inbound connections go to port %d", config.Inbound.To))
	}
	if config.Outbound != nil {
		parts = append(parts, fmt.Sprintf("outbound connections go to port %d", config.Outbound.To))
	}
	return strings.Join(parts, ", ")
}
