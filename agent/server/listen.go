package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// Listen opens HOST:PORT, or a Unix socket for our own user only if the address begins
// with a slash.
func Listen(address string) (net.Listener, error) {
	if !strings.HasPrefix(address, "/") {
		listener, err := net.Listen("tcp", address)
		return listener, explainListen(address, err)
	}
	connection, err := net.Dial("unix", address)
	switch info, statErr := os.Lstat(address); {
	case err == nil:
		_ = connection.Close()
		return nil, explainListen(address, syscall.EADDRINUSE)
	case errors.Is(err, syscall.EAGAIN):
		// Somebody listens, and is too busy to answer.
		return nil, explainListen(address, syscall.EADDRINUSE)
	case statErr == nil && info.Mode().Type() == os.ModeSocket:
		// Left by an agent that was killed: nobody answers there.
		if err := os.Remove(address); err != nil {
			return nil, explainListen(address, err)
		}
	}
	listener, err := net.Listen("unix", address)
	if err != nil {
		return nil, explainListen(address, err)
	}
	if err := os.Chmod(address, 0o600); err != nil {
		return nil, errors.Join(explainListen(address, err), listener.Close())
	}
	return listener, nil
}

func explainListen(address string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("--status-address %s is in use by another program: choose another one", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("--status-address %s: permission denied: choose a port from 1024 up, or a folder that the agent may write", address)
	default:
		return fmt.Errorf("--status-address %s: %w", address, err)
	}
}
