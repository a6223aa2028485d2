package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"fairlead.dev/fairlead/cmd/fairlead/internal/workload"
)

func runCommand() *cobra.Command {
	var o workload.Options
	command := &cobra.Command{
		Use:   "run --name NAME {[flags] -- COMMAND [ARGUMENT...] | --gateway}",
		Short: "Run a command, or a gateway, as a workload of the mesh of \"fairlead up\"",
		Long: `Creates a Pod for the command, gives it an address, and starts the command and an Envoy
beside it. When the command ends, or at Ctrl-C, or when somebody deletes the Pod, all of it
ends. Its exit status is the command's.

Envoy serves --port on the workload's address. The command serves on 127.0.0.1:$PORT
instead, a free port that it is told. "$(PORT)" in its arguments is replaced, as any of
these variables is:

  PORT, PORT_<port>                            where to serve, for the first --port and for each
  HTTP_PROXY, http_proxy                       the proxy that leads to http://SERVICE:PORT
  FAIRLEAD_OUTBOUND_HTTP                       the same, as ADDRESS:PORT
  FAIRLEAD_OUTBOUND_TCP_<SERVICE>_<port>       ADDRESS:PORT that leads to a --tcp service
  POD_NAME, POD_NAMESPACE, POD_IP

The command has no standard input. SIGHUP, SIGUSR1 and SIGUSR2 are passed on to it.

With --gateway there is no command: Envoy serves the Gateways whose selector --labels meet,
on their ports of the workload's address, for callers of any kind. Ports below 1024 are for
root only; a Service's targetPort may lead to another one. It runs until Ctrl-C.

An Envoy that is killed is started again. To restart one without losing a request, send
SIGHUP to its agent, whose process id is in run/<address>/lock of the data folder.`,
		Example: `  fairlead run --name reviews-v1 --labels app=reviews,version=v1 --port 9080 -- ./reviews --listen '127.0.0.1:$(PORT)'
  fairlead run --name ingress --labels istio=ingressgateway --gateway`,
		Args: func(command *cobra.Command, args []string) error {
			if before := command.ArgsLenAtDash(); len(args) > 0 && before != 0 {
				return fmt.Errorf("unexpected argument %q: the command comes after \"--\"", args[0])
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			agent, err := beside("fairlead-agent")
			if err != nil {
				return err
			}
			o.Agent, o.Command = agent, args
			if o.Gateway && !command.Flags().Changed("grace") {
				o.Grace = 0 // the default is of a command
			}
			// Standard output is the command's own.
			o.Say = func(format string, args ...any) {
				fmt.Fprintf(command.ErrOrStderr(), "fairlead: "+format+"\n", args...)
			}
			status, err := workload.Run(command.Context(), o)
			if err == nil && status != 0 {
				return exitStatus(status)
			}
			return err
		},
	}
	dataFlag(command, &o.Data)
	flags := command.Flags()
	flags.StringVar(&o.Name, "name", "", "`name` of the Pod and of the workload. Required")
	flags.StringVar(&o.Namespace, "namespace", "default", "`namespace` of the Pod")
	flags.StringVar(&o.Labels, "labels", "", "the Pod's labels, by which Services select it, as `k=v,k=v`")
	flags.StringVar(&o.ServiceAccount, "service-account", "default", "service account `name` that is the workload's identity; created if there is none")
	flags.StringArrayVar(&o.Ports, "port", nil, "`PORT[/PROTOCOL]` that the workload serves; http unless it is http2, grpc or tcp. Repeatable")
	flags.StringArrayVar(&o.OutboundTCP, "tcp", nil, "`SERVICE:PORT` that the command calls and that is not HTTP. Repeatable")
	flags.BoolVar(&o.Gateway, "gateway", false, "serve Gateways, without a command")
	flags.DurationVar(&o.Drain, "drain", time.Second, "how `long` the workload serves on at its end after its callers began to hear of it")
	flags.DurationVar(&o.Grace, "grace", 10*time.Second, "how `long` the command has to end after SIGTERM")
	return command
}

// beside returns the path of a program in the folder of this one.
func beside(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(self), name), nil
}
