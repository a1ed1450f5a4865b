// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Command demo shows attested TLS at work: a real Veraison deployment on loopback
// with this project's plugin, a simulated TPM, appraisals, and then connections:
// of a client to a server that attests, of two machines that attest to each
// other, and those that are refused. It is what make demo runs; it fails if
// anything is not as it must be.
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

	"github.com/veraison/attested-tls/internal/deployment"
)

func main() {
	plugin := flag.String("plugin", "bin/attested-tls.plugin", "the plugin to load")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *plugin)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, plugin string) (err error) {
	p := &printer{out: out}
	d, cleanUp, err := startVeraison(ctx, p, plugin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanUp()) }()

	m, err := newMachines(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()

	v := &verifier{deployment: d, client: d.Client()}
	if err := provision(ctx, p, m, v); err != nil {
		return err
	}
	good, err := showAppraisal(ctx, p, m, v)
	if err != nil {
		return err
	}
	if err := showReplay(ctx, p, v, good); err != nil {
		return err
	}
	if err := showUnprotectedKey(ctx, p, m, v); err != nil {
		return err
	}
	if err := showConnections(ctx, p, m, d); err != nil {
		return err
	}
	p.step("done: two connections to machines that were appraised; all else refused")
	return nil
}

// startVeraison runs the three services with nothing but our plugin.
func startVeraison(ctx context.Context, p *printer, plugin string) (*deployment.Deployment, func() error, error) {
	p.step("starting Veraison's vts, provisioning and verification services with %s", plugin)
	bin, err := deployment.FindBinDir()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "attested-tls-demo-")
	if err != nil {
		return nil, nil, fmt.Errorf("making a folder for the deployment: %w", err)
	}
	plugins := filepath.Join(dir, "plugins")
	if err := copyPlugin(plugin, plugins); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	d, err := deployment.Start(ctx, deployment.Config{BinDir: bin, PluginDir: plugins, Dir: filepath.Join(dir, "veraison")})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	p.line("provisioning at %s, verification at %s", d.ProvisioningURL(), d.VerificationURL())
	return d, func() error { return errors.Join(d.Stop(), os.RemoveAll(dir)) }, nil
}

func copyPlugin(from, toDir string) error {
	binary, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("reading the plugin (make build): %w", err)
	}
	if err := os.Mkdir(toDir, 0o700); err != nil {
		return fmt.Errorf("making a plugins folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(toDir, filepath.Base(from)), binary, 0o700); err != nil {
		return fmt.Errorf("copying the plugin: %w", err)
	}
	return nil
}
