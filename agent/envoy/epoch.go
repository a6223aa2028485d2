package envoy

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"strconv"
	"time"
)

// validateTimeout is far beyond the 0.1 s that validation takes; a busy machine may
// need longer, a hung one should be told.
const validateTimeout = 30 * time.Second

// bootstrapOf is a bootstrap and the epoch that it was made for.
type bootstrapOf struct {
	epoch   int
	content []byte
}

// forEpoch is the same bootstrap for another epoch.
func (b bootstrapOf) forEpoch(epoch int, dir *Dir) []byte {
	return bytes.ReplaceAll(b.content, []byte(strconv.Quote(dir.Pressure(b.epoch))), []byte(strconv.Quote(dir.Pressure(epoch))))
}

// start runs epoch 0 while no other Envoy of ours serves. After a crash it does so from
// the last bootstrap that was live if there is no better one any more.
func (s *Supervisor) start(ctx context.Context) (*process, error) {
	const epoch = 0
	if err := s.options.Dir.removeRuntimeFiles(); err != nil {
		return nil, fmt.Errorf("tidy up after the last Envoy: %w", err)
	}
	path, err := s.prepare(ctx, epoch)
	if err != nil && ctx.Err() == nil && s.lastGood.content != nil {
		s.options.Log.Error("Starting Envoy from the bootstrap that it had", "error", err)
		path, err = s.prepareContent(ctx, epoch, s.lastGood.forEpoch(epoch, s.options.Dir))
	}
	if err != nil {
		return nil, err
	}
	if s.program, err = s.inspect(ctx, program{}); err != nil {
		return nil, err
	}
	s.options.Statistics.Reset()
	return s.launch(epoch, path, "--use-dynamic-base-id", "--base-id-path", s.options.Dir.BaseID())
}

// prepare writes the bootstrap of an epoch and has Envoy validate it.
func (s *Supervisor) prepare(ctx context.Context, epoch int) (path string, err error) {
	content, err := s.options.Bootstrap(epoch)
	if err != nil {
		return "", err
	}
	return s.prepareContent(ctx, epoch, content)
}

func (s *Supervisor) prepareContent(ctx context.Context, epoch int, content []byte) (path string, err error) {
	o := s.options
	if err := o.Dir.release(epoch); err != nil {
		return "", fmt.Errorf("prepare epoch %d: %w", epoch, err)
	}
	if path, err = o.Dir.writeBootstrap(epoch, content); err != nil {
		return "", err
	}
	if s.Status().State != Live {
		s.become(Starting, "validating "+path, nil)
	}
	limited, cancel := context.WithTimeoutCause(ctx, validateTimeout,
		fmt.Errorf("envoy had not finished after %s", validateTimeout))
	defer cancel()
	// Silent: what it complains of is in the error, and a valid file's warnings come
	// again when Envoy starts.
	silent := newLogWriter(slog.New(slog.DiscardHandler), slog.LevelError)
	validation := exec.CommandContext(limited, o.Binary, "--mode", "validate", "--config-path", path,
		"--log-level", "warning", "--log-format", logFormat, "--log-format-escaped")
	if err := validate(limited, s.launcher, validation, path, silent); err != nil {
		return "", err
	}
	s.valid = bootstrapOf{epoch, content}
	return path, nil
}

// launch runs an epoch from a bootstrap that is valid.
func (s *Supervisor) launch(epoch int, bootstrap string, baseID ...string) (*process, error) {
	o := s.options
	if o.OOMKills != nil {
		// Without it an end for want of memory is an end by SIGKILL as any other.
		s.kills, _ = o.OOMKills()
	}
	cmd := exec.Command(o.Binary, append(s.arguments(epoch, bootstrap), baseID...)...)
	// The hot-restart sockets' name is relative to here.
	cmd.Dir = o.Dir.Path()
	p, err := startProcess(s.launcher, cmd, epoch, o.Stdout, newLogWriter(o.EnvoyLog, o.EnvoyLogLevel))
	if err != nil {
		return nil, err
	}
	s.started = true
	p.bootstrap = s.valid
	if epoch == 0 {
		s.become(Starting, "waiting for Envoy's first answer", p)
	}
	o.Log.Info("Started Envoy", "epoch", epoch, "pid", p.pid, "bootstrap", bootstrap)
	return p, nil
}

// arguments are Envoy's. Those that epochs must agree on (concurrency, socket path)
// are always written out.
func (s *Supervisor) arguments(epoch int, bootstrap string) []string {
	o := s.options
	args := []string{
		"--config-path", bootstrap,
		"--restart-epoch", strconv.Itoa(epoch),
		// By default these are abstract sockets, which any local user may talk to;
		// in our folder only we can.
		"--socket-path", hotRestartName,
		"--socket-mode", "600",
		"--drain-time-s", seconds(o.DrainTime),
		"--parent-shutdown-time-s", seconds(o.ParentShutdownTime),
		"--log-level", envoyLevel(o.EnvoyLogLevel),
		"--log-format", logFormat,
		"--log-format-escaped",
	}
	if o.Concurrency > 0 {
		args = append(args, "--concurrency", strconv.Itoa(o.Concurrency))
	}
	return args
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d.Round(time.Second).Seconds())) }
