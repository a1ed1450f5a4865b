// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning_test

import (
	"crypto"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/provisioning"
)

// The client against a real Veraison with this project's plugin.
func TestVeraison(t *testing.T) {
	plugins := t.TempDir()
	out, err := exec.Command("go", "build", "-o", filepath.Join(plugins, "attested-tls.plugin"),
		"github.com/veraison/attested-tls/plugin").CombinedOutput()
	require.NoError(t, err, string(out))
	bin, err := deployment.FindBinDir()
	require.NoError(t, err)
	d, err := deployment.Start(t.Context(), deployment.Config{
		BinDir: bin, PluginDir: plugins, Dir: t.TempDir(), Store: deployment.SQLite,
		Provisioner: &deployment.User{Name: "operator", Password: "secret"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Stop() }) // a service is killed below
	client := func(t *testing.T, password string) *provisioning.Client {
		t.Helper()
		cfg := provisioning.Config{InsecureHTTP: true}
		if password != "" {
			cfg.Username, cfg.Password = "operator", password
		}
		c, err := provisioning.New(d.ProvisioningURL(), cfg)
		require.NoError(t, err)
		t.Cleanup(c.Close)
		return c
	}

	capabilities, err := client(t, "secret").Capabilities(t.Context())
	require.NoError(t, err)
	require.Equal(t, "v0.0.2501", capabilities.Version)
	require.Equal(t, "READY", capabilities.State)
	dialect, ok := capabilities.Dialect()
	require.True(t, ok)
	require.Equal(t, endorsements.DialectV1, dialect)
	mediaType, ok := capabilities.MediaType(dialect, false)
	require.True(t, ok)

	state, err := endorsements.NewReferenceState("cd1f0e55-26f9-460d-b9d8-f7fde171787c",
		[]endorsements.PCRValue{{PCR: endorsements.PCR{Bank: crypto.SHA256, Index: 0}, Digest: make([]byte, 32)}})
	require.NoError(t, err)
	c := &endorsements.Corim{ID: "state", States: []endorsements.ReferenceState{state}}
	right, err := c.Encode(dialect)
	require.NoError(t, err)

	stored := func(t *testing.T) int {
		t.Helper()
		dump, err := d.DumpEndorsements(t.Context())
		require.NoError(t, err)
		return strings.Count(dump, "\n")
	}

	for name, password := range map[string]string{"nobody": "", "wrong password": "wrong"} {
		t.Run(name, func(t *testing.T) {
			_, err := client(t, password).Capabilities(t.Context())
			var problem *provisioning.ProblemError
			require.ErrorAs(t, err, &problem)
			require.Equal(t, 401, problem.Status)
			_, err = client(t, password).Submit(t.Context(), mediaType, right)
			require.ErrorAs(t, err, &problem)
			require.Equal(t, 401, problem.Status)
			require.NotErrorIs(t, err, provisioning.ErrUnknownOutcome)
			require.Zero(t, stored(t))
		})
	}
	t.Run("refused", func(t *testing.T) {
		_, err := client(t, "secret").Submit(t.Context(), mediaType, right[:len(right)-1])
		var refused *provisioning.RefusedError
		require.ErrorAs(t, err, &refused)
		require.Contains(t, refused.Reason, "unexpected EOF")
		require.NotErrorIs(t, err, provisioning.ErrUnknownOutcome)
		require.Zero(t, stored(t))
	})
	t.Run("media type", func(t *testing.T) {
		_, err := client(t, "secret").Submit(t.Context(), "application/json", right)
		require.ErrorContains(t, err, "no active plugin found for application/json")
		require.NotErrorIs(t, err, provisioning.ErrUnknownOutcome)
	})
	t.Run("accepted", func(t *testing.T) {
		receipt, err := client(t, "secret").Submit(t.Context(), mediaType, right)
		require.NoError(t, err)
		require.Equal(t, 1, receipt.Attempts)
		require.Equal(t, 1, stored(t))
	})
	t.Run("verifier gone", func(t *testing.T) {
		require.NoError(t, syscall.Kill(d.PIDs()[deployment.VTS], syscall.SIGKILL))
		_, err := client(t, "secret").Submit(t.Context(), mediaType, right)
		require.Error(t, err)
		// The service did not even get to ask what it takes.
		require.NotErrorIs(t, err, provisioning.ErrUnknownOutcome)
		require.Equal(t, 1, stored(t))
	})
}
