// Fairlead is the user's command line, also installed as kubectl-fairlead: `fairlead up`
// runs a mesh on this machine without a cluster, `fairlead run` a workload in it.
//
// It has no logic of its own: flags become options of the packages in internal.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = "dev"

// exitStatus is the exit status of a command that ran as it was told to and then ended
// with another one than 0.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func main() {
	// Its clients say what matters by their errors.
	ctrllog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		// A second Ctrl-C ends this process at once, and the kernel its children. Not
		// within a second, though: some, such as timeout(1), send each signal twice.
		time.AfterFunc(time.Second, stop)
	}()
	err := root().ExecuteContext(ctx)
	var status exitStatus
	switch {
	case errors.As(err, &status):
		os.Exit(int(status))
	case err != nil:
		fmt.Fprintln(os.Stderr, "fairlead:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	command := &cobra.Command{
		Use:   "fairlead",
		Short: "A service mesh for Envoy, with or without a cluster",
		// main prints errors, in its own form.
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
	}
	if filepath.Base(os.Args[0]) == "kubectl-fairlead" {
		command.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl fairlead"}
	}
	command.AddCommand(upCommand(), runCommand())
	return command
}

// dataFlag is where both commands find each other.
func dataFlag(command *cobra.Command, data *string) {
	usual := os.Getenv("FAIRLEAD_DATA")
	if usual == "" {
		usual = ".fairlead"
	}
	command.Flags().StringVar(data, "data", usual, "data `folder` of the mesh [$FAIRLEAD_DATA]")
}
