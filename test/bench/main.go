// Command bench measures: it plays the demo and runs the benchmarks of all packages, one
// after the other, and writes what came out to test/bench/results.json and, for people,
// into docs/performance.md, between two marks.
//
// It judges nothing. It is run in the repository's root, by `make bench`.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

const (
	resultsFile = "test/bench/results.json"
	pageFile    = "docs/performance.md"
	// rounds is how often each benchmark is run; its median is told.
	rounds = 3
)

// results is what results.json holds.
type results struct {
	Machine    machine     `json:"machine"`
	Demo       []figure    `json:"demo"`
	Benchmarks []benchmark `json:"benchmarks"`
}

// machine is what the figures were measured on.
type machine struct {
	CPU          string `json:"cpu"`
	CPUs         int    `json:"cpus"`
	Architecture string `json:"architecture"`
	Go           string `json:"go"`
	Envoy        string `json:"envoy"`
}

// figure is one of the demo's.
type figure struct {
	Name     string `json:"name"`
	Measured string `json:"measured"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var r results
	r.Machine = describe(ctx)
	var err error
	if r.Demo, err = playDemo(ctx); err != nil {
		return fmt.Errorf("the demo: %w", err)
	}
	packages, err := packagesWithBenchmarks(".")
	if err != nil {
		return err
	}
	if r.Benchmarks, err = runBenchmarks(ctx, packages); err != nil {
		return err
	}
	encoded, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(resultsFile, append(encoded, '\n'), 0o644); err != nil {
		return err
	}
	page, err := os.ReadFile(pageFile)
	if err != nil {
		return err
	}
	filled, err := fill(string(page), r.markdown())
	if err != nil {
		return fmt.Errorf("%s: %w", pageFile, err)
	}
	if err := os.WriteFile(pageFile, []byte(filled), 0o644); err != nil {
		return err
	}
	fmt.Printf("bench: wrote %s and %s\n", resultsFile, pageFile)
	return nil
}

// describe tells what can be known of the machine; what cannot is left empty.
func describe(ctx context.Context) machine {
	m := machine{CPUs: runtime.NumCPU(), Architecture: runtime.GOARCH, Go: runtime.Version()}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, is := strings.CutPrefix(line, "model name"); is {
				m.CPU = strings.Trim(name, "\t :\n")
				break
			}
		}
	}
	if version, err := exec.CommandContext(ctx, "bin/envoy", "--version").Output(); err == nil {
		// "bin/envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL"
		if parts := strings.Split(string(version), "/"); len(parts) > 4 {
			m.Envoy = parts[len(parts)-4]
		}
	}
	return m
}

// playDemo plays the story and returns its figures.
func playDemo(ctx context.Context) ([]figure, error) {
	file, err := os.CreateTemp("", "fairlead-figures-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	defer file.Close()
	cmd := command(ctx, os.Stdout, "bin/demo", "--end", "--figures", file.Name())
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	var figures []figure
	if err := json.NewDecoder(file).Decode(&figures); err != nil {
		return nil, err
	}
	return figures, nil
}

// packagesWithBenchmarks looks for benchmarks in the source, so that nothing has to be
// compiled to find out that there are none.
func packagesWithBenchmarks(root string) ([]string, error) {
	var packages []string
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "hack" || entry.Name() == "bin"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(source, []byte("\nfunc Benchmark")) {
			packages = append(packages, "./"+filepath.ToSlash(filepath.Dir(path)))
		}
		return nil
	})
	slices.Sort(packages)
	return slices.Compact(packages), err
}

// runBenchmarks runs one package at a time: two would take each other's CPU.
func runBenchmarks(ctx context.Context, packages []string) ([]benchmark, error) {
	if len(packages) == 0 {
		return nil, errors.New("no package has a benchmark")
	}
	var output bytes.Buffer
	args := append([]string{"test", "-p", "1", "-run", "^$", "-bench", ".", "-benchmem", "-count", fmt.Sprint(rounds), "-timeout", "60m"}, packages...)
	if err := command(ctx, io.MultiWriter(os.Stdout, &output), "go", args...).Run(); err != nil {
		return nil, fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return parse(&output)
}

// command makes a command that is asked to end, not killed, when the context does.
func command(ctx context.Context, out io.Writer, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}
