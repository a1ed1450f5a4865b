// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSigningKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.jwk")
	made, err := signingKey(file)
	require.NoError(t, err)

	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	read, err := signingKey(file)
	require.NoError(t, err)
	assert.True(t, made.Equal(read), "the second call gives another key")

	// What the VTS parses it with has to agree.
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	parsed, err := jwk.ParseKey(data)
	require.NoError(t, err)
	var raw any
	require.NoError(t, jwk.Export(parsed, &raw))
	assert.True(t, made.Equal(raw), "another library reads another key")
}

func TestSigningKeyRefusesOthers(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":    "-----BEGIN",
		"other type":  `{"kty":"RSA"}`,
		"other curve": `{"kty":"EC","crv":"P-384","d":"AA"}`,
		"bad base64":  `{"kty":"EC","crv":"P-256","d":"=="}`,
		"short":       `{"kty":"EC","crv":"P-256","d":"AAEC"}`,
		"public":      `{"kty":"EC","crv":"P-256"}`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "key.jwk")
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			_, err := signingKey(file)
			require.Error(t, err)
			after, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, text, string(after), "the file was replaced")
		})
	}
}
