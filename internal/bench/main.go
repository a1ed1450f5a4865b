// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Command bench compares this project's plugin with Veraison's own Parsec TPM
// plugin of the same version: the five scheme calls of an appraisal in-process,
// beside the bare signature verifications that no plugin can do without, and
// whole challenge-response sessions through the same real deployment.
//
// make bench runs it, after building what it needs. A target that is missed is
// said and is no failure: this machine may be busy.
package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/veraison/attested-tls/internal/deployment"
)

// workerCommand, as the only argument, has this program call serve.
const workerCommand = "worker"

// turnsPerDuration makes of -duration how long one in-process turn lasts.
const turnsPerDuration = 120

type options struct {
	rounds   int
	duration time.Duration
	clients  int
	plugin   string
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		debug.SetGCPercent(800) // as plugin/main.go has it
		exit(serve(os.Stdin, os.Stdout, newFiveCalls))
	}
	opts, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		os.Exit(2) // parse has said why
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, opts, os.Stdout)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parse(args []string, usage io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.IntVar(&o.rounds, "rounds", 7, "how often each measurement is repeated")
	flags.DurationVar(&o.duration, "duration", 3*time.Second, "how long a plugin is loaded end to end in each round")
	flags.IntVar(&o.clients, "clients", 4, "how many clients load it at once")
	flags.StringVar(&o.plugin, "plugin", filepath.Join("bin", "attested-tls.plugin"), "this project's plugin, as make build leaves it")
	quick := flags.Bool("quick", false, "a short run, to see that it works: -rounds 3 -duration 500ms")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *quick {
		o.rounds, o.duration = 3, 500*time.Millisecond
	}
	var err error
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.rounds < 1 || o.clients < 1 || o.duration <= 0:
		err = errors.New("-rounds, -clients and -duration must be positive")
	}
	if err != nil {
		fmt.Fprintln(usage, err)
		flags.Usage()
	}
	return o, err
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	defer func() {
		// What an interrupt broke is not news.
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	binDir, err := deployment.FindBinDir()
	if err != nil {
		return err
	}
	theirPlugins := deployment.ParsecTPMPluginDir(binDir)
	ourPlugins, err := os.MkdirTemp("", "atls-plugins")
	if err != nil {
		return fmt.Errorf("making a plugins folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(ourPlugins)) }()
	if err := link(o.plugin, ourPlugins); err != nil {
		return err
	}
	version, err := sameVersion(o.plugin, filepath.Join(theirPlugins, "parsec-tpm.plugin"))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Veraison services %s, %s, %d CPUs\n", version, runtime.Version(), runtime.NumCPU())

	fmt.Fprintf(out, "evidence: a simulated TPM, ECDSA P-256 keys, %s\n", pcrs)
	in, err := newInputs(ctx)
	if err != nil {
		return fmt.Errorf("making evidence: %w", err)
	}

	var r report
	turn := o.duration / turnsPerDuration
	fmt.Fprintf(out, "five scheme calls in-process: %d rounds of %d turns, %v for each measurement\n", o.rounds, turnsPerRound, turn)
	if r.calls, err = measureInProcess(ctx, out, in, binDir, o.rounds, turn); err != nil {
		return err
	}
	fmt.Fprintf(out, "sessions end to end: %d rounds of %d turns, %v with each plugin, %d clients\n",
		o.rounds, loadsPerRound, o.duration/loadsPerRound, o.clients)
	plugins := map[string]string{ours: ourPlugins, theirs: theirPlugins}
	if r.e2e, err = measureEndToEnd(ctx, out, in, binDir, plugins, o.clients, o.rounds, o.duration); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return r.write(out)
}

// link puts a plugin into a folder of its own: a VTS takes all that it finds.
func link(plugin, dir string) error {
	path, err := filepath.Abs(plugin)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return fmt.Errorf("this project's plugin is not built: run make build: %w", err)
	}
	if err := os.Symlink(path, filepath.Join(dir, filepath.Base(path))); err != nil {
		return fmt.Errorf("filling a plugins folder: %w", err)
	}
	return nil
}

// sameVersion returns the version of the Veraison services that programs were
// built with.
func sameVersion(programs ...string) (string, error) {
	var version string
	for _, program := range programs {
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			return "", fmt.Errorf("reading the build of %s: %w", program, err)
		}
		if info.GoVersion != runtime.Version() {
			return "", fmt.Errorf("%s was built by %s and this program by %s: build them anew", program, info.GoVersion, runtime.Version())
		}
		found := ""
		for _, dep := range append(info.Deps, &info.Main) { // theirs is a program of that module
			if dep.Path == "github.com/veraison/services" {
				found = dep.Version
			}
		}
		if found == "" || version != "" && found != version {
			return "", fmt.Errorf("%s was built with Veraison services %q, another plugin with %q", program, found, version)
		}
		version = found
	}
	return version, nil
}
