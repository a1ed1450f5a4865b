// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// storeInit is a command of the deploy module: the root module has no SQL
// driver, and needs none.
const storeInit = "store-init"

// storeFiles are the SQLite files of a deployment.
type storeFiles struct{ trustAnchors, endorsements, policies string }

func storesIn(dir string) storeFiles {
	return storeFiles{
		trustAnchors: filepath.Join(dir, "ta-store.sqlite"),
		endorsements: filepath.Join(dir, "en-store.sqlite"),
		policies:     filepath.Join(dir, "po-store.sqlite"),
	}
}

// create makes the stores that do not exist yet.
func (s storeFiles) create(ctx context.Context, binDir string) error {
	_, err := runStoreInit(ctx, binDir, "create", s.trustAnchors, s.endorsements, s.policies)
	return err
}

// DumpTrustAnchors returns what is in the SQLite store of trust anchors, as
// key<TAB>value lines in the order of their provisioning.
func (d *Deployment) DumpTrustAnchors(ctx context.Context) (string, error) {
	return d.dump(ctx, storesIn(d.cfg.Dir).trustAnchors)
}

// DumpEndorsements does the same for the store of reference values.
func (d *Deployment) DumpEndorsements(ctx context.Context) (string, error) {
	return d.dump(ctx, storesIn(d.cfg.Dir).endorsements)
}

func (d *Deployment) dump(ctx context.Context, file string) (string, error) {
	if d.cfg.Store != SQLite {
		return "", fmt.Errorf("dumping %s: the store is %v", filepath.Base(file), d.cfg.Store)
	}
	return runStoreInit(ctx, d.cfg.BinDir, "dump", file)
}

func runStoreInit(ctx context.Context, binDir string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(binDir, storeInit), args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("store-init %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}
