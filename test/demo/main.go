// Command demo shows what Fairlead does, on this machine: it starts `fairlead up`, a small
// application under `fairlead run` with a real Envoy beside every workload, and then tells
// a story of changes to routing, with the numbers that it measures.
//
// It is a client like any other: it applies objects by kubectl and asks the application by
// HTTP. Every command is printed before it is run, so that a reader can run it too.
// Whatever it starts ends with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout))
}

func run(args []string, out io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	endAfterwards := flags.Bool("end", os.Getenv("CI") == "true", "end after the story; otherwise Ctrl-C does [true if $CI is true]")
	keep := flags.Bool("keep", false, "keep the data folder, with the programs' logs")
	figuresFile := flags.String("figures", "", "`file` to write the figures to, as JSON")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	s, err := newStage(out)
	if err != nil {
		fmt.Fprintln(out, "demo:", err)
		return 1
	}
	told := &figures{}
	err = tell(ctx, s, told)
	if err == nil {
		told.print(out)
		err = told.write(*figuresFile)
	}
	if err == nil && told.held() && !*endAfterwards {
		fmt.Fprintf(out, "\ndemo: passed\n\nEverything stays up until Ctrl-C. To go on by yourself, in another terminal:\n\n%s\n", s.hints())
		err = s.watchOver(ctx)
	}
	interrupted := ctx.Err() != nil
	if err != nil && !interrupted {
		s.printLogs()
	}
	// From here on a second Ctrl-C ends the demo at once; the kernel then ends what it started.
	stop()
	fmt.Fprintln(out, "\nStopping everything.")
	if interrupted {
		// That the story was broken off is no failure of what it is about.
		err = nil
	}
	err = errors.Join(err, s.stop(*keep))
	switch {
	case err != nil:
		fmt.Fprintf(out, "%v\ndemo: FAILED\n", err)
		return 1
	case interrupted && !told.complete:
		fmt.Fprintln(out, "demo: interrupted")
		return 130
	case !told.held():
		fmt.Fprintln(out, "demo: FAILED, see the figures above")
		return 1
	}
	fmt.Fprintln(out, "demo: passed")
	return 0
}

// findRoot returns the repository's root: the manifests are printed as they are named from
// there. It is the folder above the one that the program is in, or else a parent of the
// working directory.
func findRoot() (string, error) {
	var candidates []string
	if program, err := os.Executable(); err == nil {
		candidates = append(candidates, filepath.Dir(filepath.Dir(program)))
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		candidates = append(candidates, dir)
	}
	for _, dir := range candidates {
		if _, err := os.Stat(filepath.Join(dir, manifests, "mesh.yaml")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%s is in none of the folders above: run `make demo` in the repository", manifests)
}

// pause waits for a time that the story needs, such as that of constant load.
func pause(ctx context.Context, duration time.Duration) error {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
