// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Deployment is a running set of the three services. Its methods may be called
// from several goroutines.
type Deployment struct {
	cfg Config
	key *ecdsa.PrivateKey

	mu     sync.Mutex
	run    *run // nil when stopped
	client *Client
}

// Start starts a deployment and returns when all of its services answer. When
// it fails, the error holds the end of the log of the service that is to blame,
// and no process is left behind.
func Start(ctx context.Context, cfg Config) (*Deployment, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, fmt.Errorf("starting deployment: %w", err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("starting deployment: %w", err)
	}
	d := &Deployment{cfg: cfg}
	if d.key, err = signingKey(keyPath(cfg.Dir)); err != nil {
		return nil, fmt.Errorf("starting deployment: %w", err)
	}
	if err := d.start(ctx); err != nil {
		return nil, fmt.Errorf("starting deployment: %w", err)
	}
	return d, nil
}

func keyPath(dir string) string { return filepath.Join(dir, "ear-signer.jwk") }

var errStartTimeout = errors.New("the time for starting is over")

// start expects that nothing runs; d.mu is held, or d is not shared yet.
func (d *Deployment) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d.cfg.StartTimeout, errStartTimeout)
	defer cancel()

	if d.cfg.Store == SQLite {
		if err := storesIn(d.cfg.Dir).create(ctx, d.cfg.BinDir); err != nil {
			return err
		}
	}
	r, err := startRun(ctx, d.cfg, freePorts)
	if err != nil {
		return err
	}
	d.run = r
	d.client = NewClient(r.provisioning, r.verification)
	d.client.user = d.cfg.Provisioner
	return nil
}

// Stop stops every process of the deployment and returns when they are gone.
// The error also tells of a service that had ended by itself, or that had to be
// killed. Stopping again does nothing.
func (d *Deployment) Stop() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stop()
}

func (d *Deployment) stop() error {
	if d.run == nil {
		return nil
	}
	r := d.run
	d.run = nil
	d.client.CloseIdle()
	if err := r.stop(); err != nil {
		return fmt.Errorf("stopping deployment: %w", err)
	}
	return nil
}

// Restart stops the deployment and starts it again on the same folder, with
// another plugins folder unless that is empty. It listens on other ports then:
// ask for the URLs and the client anew. When it fails, the deployment is
// stopped.
func (d *Deployment) Restart(ctx context.Context, pluginDir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()

	cfg := d.cfg
	if pluginDir != "" {
		cfg.PluginDir = pluginDir
	}
	cfg, checkErr := cfg.checked()
	if err := errors.Join(d.stop(), checkErr); err != nil {
		return fmt.Errorf("restarting deployment: %w", err)
	}
	d.cfg.PluginDir = cfg.PluginDir // all that may differ; Dir is read without the lock
	if err := d.start(ctx); err != nil {
		return fmt.Errorf("restarting deployment: %w", err)
	}
	return nil
}

// Client returns an HTTP client of this deployment. After Restart it is another
// one.
func (d *Deployment) Client() *Client {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.client
}

// ProvisioningURL is the provisioning service's base URL, without a slash at
// its end.
func (d *Deployment) ProvisioningURL() string { return d.Client().provisioning }

// VerificationURL is the verification service's base URL, without a slash at
// its end.
func (d *Deployment) VerificationURL() string { return d.Client().verification }

// PublicKey verifies the deployment's attestation results.
func (d *Deployment) PublicKey() *ecdsa.PublicKey { return &d.key.PublicKey }

// Dir is the folder of configuration, signing key, stores and logs.
func (d *Deployment) Dir() string { return d.cfg.Dir }

// Logs returns what a service, and for the VTS its plugins, have written so
// far, earlier runs in the same folder included.
func (d *Deployment) Logs(service Service) (string, error) {
	text, err := readFrom(logPath(d.cfg.Dir, service), 0)
	return string(text), err
}

// PIDs returns the process numbers of the services; none when it is stopped.
func (d *Deployment) PIDs() map[Service]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	pids := map[Service]int{}
	if d.run != nil {
		for _, p := range d.run.processes {
			pids[p.service] = p.cmd.Process.Pid
		}
	}
	return pids
}

// PluginPIDs returns the process numbers of the VTS's plugins in the order of
// their start. Veraison v0.0.2501 starts the evidence handler of each plugin
// first, then the endorsement handlers, then the store handlers. It needs
// Linux's /proc.
func (d *Deployment) PluginPIDs() ([]int, error) {
	vts, ok := d.PIDs()[VTS]
	if !ok {
		return nil, errors.New("listing plugins: the deployment is stopped")
	}
	pids, err := children(vts)
	if err != nil {
		return nil, fmt.Errorf("listing plugins: %w", err)
	}
	return pids, nil
}
