// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsement_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
)

// buildPlugin builds the plugin into a folder of its own.
func buildPlugin(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o",
		filepath.Join(dir, "attested-tls.plugin"), "github.com/veraison/attested-tls/plugin").CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

// TestDeployment: real Veraison services take from the plugin what its
// configuration says, and nothing if that is wrong.
func TestDeployment(t *testing.T) {
	plugins := buildPlugin(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	_, other, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	configuration := func(dir, name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	configuration(plugins, "signer.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	beside := configuration(plugins, "attested-tls.json", `{"accept-unsigned": false, "trusted-signers": [{"name": "x", "key-file": "signer.pem"}]}`)

	unsigned := corim(t, nil)
	d := deployment.StartForTest(t, deployment.Config{PluginDir: plugins})
	ctx, client := t.Context(), d.Client()
	require.NoError(t, client.Provision(ctx, endorsements.MediaTypeSignedV1, signedBy(t, key, unsigned)))
	err = client.Provision(ctx, endorsements.MediaTypeSignedV1, signedBy(t, other, unsigned))
	require.ErrorContains(t, err, "the signer is not trusted: none of the trusted keys made this signature")
	err = client.Provision(ctx, endorsements.MediaTypeSignedV1, unsigned)
	require.ErrorContains(t, err, "the plugin's configuration accepts signed CoRIMs only: the CoRIM is not signed")
	// The services do not even ask for what the plugin does not offer.
	err = client.Provision(ctx, endorsements.MediaTypeUnsignedV1, unsigned)
	var status *deployment.ProblemError
	require.ErrorAs(t, err, &status)
	assert.Equal(t, http.StatusUnsupportedMediaType, status.StatusCode)
	require.NoError(t, d.Stop())

	// A configuration that is wrong is no configuration that takes everything:
	// Veraison does not start, and its log says why.
	require.NoError(t, os.WriteFile(beside, []byte(`{"accept-unsigned": "yes"}`), 0o600))
	bin, err := deployment.FindBinDir()
	require.NoError(t, err)
	_, err = deployment.Start(ctx, deployment.Config{PluginDir: plugins, BinDir: bin, Dir: t.TempDir()})
	require.ErrorContains(t, err, "the plugin's configuration is wrong; nothing is served")
	require.ErrorContains(t, err, "attested-tls.json: json: cannot unmarshal string")

	// The environment goes first.
	elsewhere := configuration(t.TempDir(), "plugin.json", `{"accept-unsigned": true}`)
	d = deployment.StartForTest(t, deployment.Config{PluginDir: plugins, Env: []string{"ATTESTED_TLS_PLUGIN_CONFIG=" + elsewhere}})
	require.NoError(t, d.Client().Provision(ctx, endorsements.MediaTypeUnsignedV1, unsigned))
	err = d.Client().Provision(ctx, endorsements.MediaTypeSignedV1, signedBy(t, key, unsigned))
	require.ErrorAs(t, err, &status)
}
