package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"fairlead.dev/fairlead/agent/envoy"
	"fairlead.dev/fairlead/agent/flags"
)

// waitSettings are the flags of "fairlead-agent wait" and "fairlead-agent quit".
type waitSettings struct {
	flags.Set

	dir, statusAddress string
	timeout, interval  time.Duration
}

func newWaitSettings(command string) *waitSettings {
	s := &waitSettings{Set: flags.New(command)}
	s.Group("The agent to ask", func(f *pflag.FlagSet) {
		f.StringVar(&s.statusAddress, "status-address", "", "`HOST:PORT` or path of a Unix socket that the agent has as its --status-address (default: status.sock in --dir)")
		f.StringVar(&s.dir, "dir", "/var/run/fairlead/agent", "`folder` of that agent")
	})
	if command == "wait" {
		s.AddWithoutEnv("Patience", func(f *pflag.FlagSet) {
			f.DurationVar(&s.timeout, "timeout", time.Minute, "how long to wait at most")
			f.DurationVar(&s.interval, "interval", 100*time.Millisecond, "how long to wait between two questions")
		})
	}
	return s
}

func (s *waitSettings) help() string {
	if s.Command == "quit" {
		return `Asks the agent of the same Pod to stop gracefully, as a Job does whose work is done.

Usage:
  fairlead-agent quit [flags]
` + s.Usages() + `
Exit status: 0 if the agent was asked, 1 if none answers or it refuses, 2 if the flags are wrong.
`
	}
	return `Waits until the proxy serves, and says what it waits for. The agent need not run yet.
As an init script or a postStart hook it makes the application start after its proxy.

Usage:
  fairlead-agent wait [flags]
` + s.Usages() + `
Exit status: 0 once the proxy is ready, 1 if it was not in time, 2 if the flags are wrong.
`
}

func (s *waitSettings) parse(args []string, lookupEnv func(string) (string, bool)) error {
	refused, err := s.Read(args, lookupEnv)
	if err != nil {
		return err
	}
	found := flags.Problems(refused)
	if s.statusAddress == "" {
		if s.dir, err = envoy.DirPath(s.dir); err != nil {
			found.Add("dir", "%w", err)
		}
		s.statusAddress = envoy.StatusSocket(s.dir)
	} else if s.statusAddress, err = parseStatusAddress(s.statusAddress); err != nil {
		found.Add("status-address", "%w", err)
	}
	if s.Command == "wait" {
		if s.timeout <= 0 {
			found.Add("timeout", "is %s: use a longer time, such as 1m", s.timeout)
		}
		if s.interval < time.Millisecond {
			found.Add("interval", "is %s: use 1ms or longer, such as 100ms", s.interval)
		}
	}
	return errors.Join(found...)
}

// askAgent is both commands.
func askAgent(ctx context.Context, command string, args []string, lookupEnv func(string) (string, bool), stdout, stderr io.Writer) int {
	s := newWaitSettings(command)
	if status, end := readFlags(command, s.parse, s.help, args, lookupEnv, stdout, stderr); end {
		return status
	}
	act := s.wait
	if command == "quit" {
		act = s.quit
	}
	sentence, err := act(ctx, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "fairlead-agent %s: %v\n", command, err)
		return exitFailed
	}
	fmt.Fprintf(stdout, "fairlead-agent %s: %s\n", command, sentence)
	return 0
}

// wait asks until the answer is yes, and tells progress what it is otherwise, whenever
// that changes.
func (s *waitSettings) wait(ctx context.Context, progress io.Writer) (string, error) {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	told := "the agent at " + s.statusAddress + " takes connections and does not answer"
	for limited.Err() == nil {
		ready, sentence := s.ask(limited)
		if ready {
			return sentence, nil
		}
		// What is said because the time is over says nothing about the agent.
		if limited.Err() == nil && sentence != told {
			told = sentence
			fmt.Fprintf(progress, "fairlead-agent wait: %s\n", told)
		}
		select {
		case <-tick.C:
		case <-limited.Done():
		}
	}
	if ctx.Err() != nil {
		return "", fmt.Errorf("told to stop: %w", context.Cause(ctx))
	}
	return "", fmt.Errorf("not ready after %s: %s; see the agent's log, or wait longer with --timeout", s.timeout, told)
}

// ask returns the agent's answer, or why there is none.
func (s *waitSettings) ask(ctx context.Context) (ready bool, sentence string) {
	switch code, sentence, err := s.exchange(ctx, http.MethodGet, "/ready"); {
	case err != nil:
		return false, s.silence(err)
	case code == http.StatusNotFound:
		return false, "whatever answers at " + s.statusAddress + " is no agent: give --status-address as the agent has it"
	default:
		return code == http.StatusOK, sentence
	}
}

// silence says what an error means for whoever waits.
func (s *waitSettings) silence(err error) string {
	var operation *net.OpError
	if errors.As(err, &operation) && operation.Op == "dial" {
		return fmt.Sprintf("no agent answers at %s (%v): start \"fairlead-agent proxy\" with the same --dir or --status-address", s.statusAddress, operation.Err)
	}
	return fmt.Sprintf("the agent at %s does not answer: %v", s.statusAddress, err)
}

func (s *waitSettings) quit(ctx context.Context, _ io.Writer) (string, error) {
	switch code, sentence, err := s.exchange(ctx, http.MethodPost, "/quitquitquit"); {
	case err != nil:
		return "", errors.New(s.silence(err))
	case code != http.StatusOK:
		return "", fmt.Errorf("the agent at %s refuses: %s", s.statusAddress, sentence)
	default:
		return "asked the agent at " + s.statusAddress + " to stop: " + sentence, nil
	}
}

// answerTimeout is far more than an agent needs, which answers from memory.
const answerTimeout = 10 * time.Second

// exchange asks by a connection of its own, which leads to the agent whatever the URL
// says, and returns the answer's status and its text.
func (s *waitSettings) exchange(ctx context.Context, method, path string) (int, string, error) {
	network := "tcp"
	if strings.HasPrefix(s.statusAddress, "/") {
		network = "unix"
	}
	client := &http.Client{Timeout: answerTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.statusAddress)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	return response.StatusCode, strings.TrimSpace(string(body)), err
}
