package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cmd/fairlead/internal/cluster"
)

func upCommand() *cobra.Command {
	var o cluster.Options
	command := &cobra.Command{
		Use:   "up [flags] [-- MANAGER-FLAG...]",
		Short: "Run a mesh on this machine, without a cluster",
		Long: `Starts etcd, the real Kubernetes API server with the controllers that a mesh needs, and
Fairlead's manager, all on loopback, as your own user. kubectl and GitOps tools work with
it as with any cluster. Workloads are started by "fairlead run".

Everything is kept in the data folder. Ctrl-C stops it all; the same command starts again
with the same objects. Flags after "--" are given to the manager.`,
		Args: func(command *cobra.Command, args []string) error {
			if before := command.ArgsLenAtDash(); len(args) > 0 && before != 0 {
				return fmt.Errorf("unexpected argument %q: the manager's flags come after \"--\"", args[0])
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			programs, err := cluster.FindPrograms()
			if err != nil {
				return err
			}
			o.Programs, o.ManagerArgs, o.Out = programs, args, command.OutOrStdout()
			return cluster.Up(command.Context(), o)
		},
	}
	dataFlag(command, &o.Data)
	flags := command.Flags()
	flags.Uint16Var(&o.APIPort, "api-port", 0, "`port` of the API server on 127.0.0.1; 0 takes the first free one from 16443 up")
	flags.StringVar(&o.Place.Region, "region", "local", "`region` that the machine is said to be in, for locality-aware routing")
	flags.StringVar(&o.Place.Zone, "zone", "local", "`zone` that the machine is said to be in")
	flags.BoolVar(&o.WithoutManager, "no-manager", false, "do not start the manager; its command line is printed, for those who work on it")
	return command
}
