// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rptest

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/internal/deployment"
)

// Deploy starts a real Veraison with this project's plugin as it is now, until
// the test ends.
func Deploy(t testing.TB) *deployment.Deployment {
	t.Helper()
	return deployment.StartForTest(t, deployment.Config{PluginDir: Plugin(t)})
}

// Plugin builds the plugin and returns the folder that it is in.
func Plugin(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "attested-tls.plugin"), "github.com/veraison/attested-tls/plugin").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}
