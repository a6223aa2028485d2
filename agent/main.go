// Fairlead-agent is the sidecar's program: it keeps an Envoy running with a bootstrap of
// its own making, replaces and drains it without a lost request, gives it certificates,
// and answers for it. It also writes the rules that lead the workload's connections to
// Envoy.
//
// It never touches traffic, and talks to no API server. Everything it knows of its
// workload it is told by flags, environment variables or a file; everything about traffic
// Envoy gets over xDS from the manager. This package turns what changes around Envoy into
// restarts; what each of the others does is in docs/architecture.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/pflag"

	"fairlead.dev/fairlead/agent/bootstrap"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = "dev"

const usage = `fairlead-agent manages the Envoy that runs beside a workload.

Usage:
  fairlead-agent proxy [flags]       start Envoy and stay with it
  fairlead-agent wait [flags]        wait until the proxy is ready, so that the application starts after it
  fairlead-agent quit [flags]        ask the agent of this Pod to stop, as a Job does whose work is done
  fairlead-agent bootstrap [flags]   print the Envoy bootstrap that proxy would use
  fairlead-agent redirect [flags]    lead the workload's connections to Envoy, by nftables rules
  fairlead-agent version             print the version

"fairlead-agent COMMAND --help" lists the flags of a command.
`

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	// A sidecar is paid for by each Pod: 2 MiB less, for a collection a little more often.
	debug.SetGCPercent(50)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	status := run(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, lookupEnv func(string) (string, bool), stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	command, args := args[0], args[1:]
	switch command {
	case "proxy", "bootstrap":
		s := newSettings(command)
		if status, end := readFlags(command, s.parse, s.help, args, lookupEnv, stdout, stderr); end {
			return status
		}
		if command == "bootstrap" {
			return printBootstrap(s, stdout, stderr)
		}
		return proxy(ctx, s, stdout, stderr)
	case "wait", "quit":
		return askAgent(ctx, command, args, lookupEnv, stdout, stderr)
	case "redirect":
		return redirectTraffic(args, lookupEnv, stdout, stderr)
	case "version", "--version":
		fmt.Fprintln(stdout, versionLine())
		return 0
	case "help", "--help", "-h":
		fmt.Fprint(stdout, usage)
		return 0
	default:
		fmt.Fprintf(stderr, "fairlead-agent: unknown command %q\n\n%s", command, usage)
		return exitUsage
	}
}

// parser reads the flags of a command.
type parser func(args []string, lookupEnv func(string) (string, bool)) error

// readFlags tells whether the command ends with that: because only its help was asked
// for, or because the flags are wrong.
func readFlags(name string, parse parser, help func() string, args []string, lookupEnv func(string) (string, bool), stdout, stderr io.Writer) (status int, end bool) {
	switch err := parse(args, lookupEnv); {
	case errors.Is(err, pflag.ErrHelp):
		fmt.Fprint(stdout, help())
		return 0, true
	case err != nil:
		return complain(stderr, name, err, fmt.Sprintf("\"fairlead-agent %s --help\" lists the flags.", name)), true
	}
	return 0, false
}

func printBootstrap(s *settings, stdout, stderr io.Writer) int {
	for _, warning := range s.warnings {
		fmt.Fprintf(stderr, "fairlead-agent bootstrap: warning: %s\n", warning)
	}
	content, err := bootstrap.Build(s.bootstrapOf(0))
	if err == nil {
		_, err = stdout.Write(content)
	}
	if err != nil {
		fmt.Fprintf(stderr, "fairlead-agent bootstrap: %v\n", err)
		return exitFailed
	}
	return 0
}

// complain prints all problems of the command line at once, one a line.
func complain(stderr io.Writer, command string, err error, hint string) int {
	problems := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		problems = joined.Unwrap()
	}
	for _, problem := range problems {
		fmt.Fprintf(stderr, "fairlead-agent %s: %v\n", command, problem)
	}
	if hint != "" {
		fmt.Fprintln(stderr, hint)
	}
	return exitUsage
}

func versionLine() string {
	line := "fairlead-agent " + version
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				line += " (commit " + setting.Value + ")"
			}
		}
	}
	return line + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
