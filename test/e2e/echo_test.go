package e2e

import (
	"flag"
	"net"
	"os"
	"strings"

	"fairlead.dev/fairlead/test/echo"
)

// serveEcho is the application behind every proxy of the mesh: this test's own binary, which
// TestMain makes it. It serves HTTP/1.1, HTTP/2 and gRPC on every port that `fairlead run`
// gives it, and lines over TCP on those that flags name.
func serveEcho(args []string) error {
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	version := flags.String("version", "", "what it says that it is")
	lines := flags.String("lines", "", "`port` on which lines are echoed over TCP")
	if err := flags.Parse(args); err != nil {
		return err
	}
	app := echo.New(*version)
	ended := make(chan error)
	for _, variable := range os.Environ() {
		name, local, _ := strings.Cut(variable, "=")
		port, served := strings.CutPrefix(name, "PORT_")
		if !served {
			continue
		}
		listener, err := net.Listen("tcp", "127.0.0.1:"+local)
		if err != nil {
			return err
		}
		serve := app.Serve
		if port == *lines {
			serve = app.ServeLines
		}
		go func() { ended <- serve(listener) }()
	}
	return <-ended
}
