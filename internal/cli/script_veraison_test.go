// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
)

// buildPlugin builds the plugin into dir, which has nothing else in it then.
func buildPlugin(dir string) error {
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "attested-tls.plugin"),
		"github.com/veraison/attested-tls/plugin").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the plugin: %w\n%s", err, out)
	}
	return nil
}

// veraisonCommands are the script commands that have to do with a real Veraison
// deployment with this project's plugin, which the first use starts:
//
//	veraison      sets $VERIFIER and $PROVISIONING to its URLs, and writes the
//	              key of its results to verifier.pem
//	submit FILE   provisions a CoRIM of dialect v1
func veraisonCommands(t *testing.T) map[string]scriptCommand {
	dir := t.TempDir()
	start := sync.OnceValues(func() (*deployment.Deployment, error) {
		plugins := filepath.Join(dir, "plugins")
		if err := buildPlugin(plugins); err != nil {
			return nil, err
		}
		return deployment.StartForTest(t, deployment.Config{PluginDir: plugins}), nil
	})
	running := func(ts *testscript.TestScript) *deployment.Deployment {
		d, err := start()
		ts.Check(err)
		return d
	}
	return map[string]scriptCommand{
		"veraison": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) > 0 {
				ts.Fatalf("usage: veraison")
			}
			d := running(ts)
			ts.Setenv("VERIFIER", d.VerificationURL())
			ts.Setenv("PROVISIONING", d.ProvisioningURL())
			text, err := endorsements.MarshalKeyPEM(d.PublicKey())
			ts.Check(err)
			ts.Check(os.WriteFile(ts.MkAbs("verifier.pem"), []byte(text), 0o600))
		},
		"submit": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) != 1 {
				ts.Fatalf("usage: submit FILE")
			}
			ts.Check(running(ts).Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, []byte(ts.ReadFile(args[0]))))
		},
	}
}
