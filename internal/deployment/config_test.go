// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write deploy/veraison.yaml anew")

// sampleSettings are those of the configuration that operators are shown.
func sampleSettings() settings {
	const stores = "/var/lib/veraison/"
	return settings{
		PluginDir:           "/opt/veraison/plugins",
		SigningKey:          "/etc/veraison/ear-signer.jwk",
		LogLevel:            "info",
		Store:               SQLite,
		TrustAnchors:        sqliteSource(stores + "ta-store.sqlite"),
		Endorsements:        sqliteSource(stores + "en-store.sqlite"),
		Policies:            sqliteSource(stores + "po-store.sqlite"),
		VTSAddress:          "127.0.0.1:50051",
		ProvisioningAddress: "127.0.0.1:8888",
		VerificationAddress: "127.0.0.1:8080",
	}
}

// The sample that deploy/ shows is the configuration that the tests run with.
func TestSampleConfiguration(t *testing.T) {
	root, err := moduleRoot()
	require.NoError(t, err)
	file := filepath.Join(root, "deploy", "veraison.yaml")
	want, err := sampleSettings().render()
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(file, want, 0o644))
	}
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got),
		"deploy/veraison.yaml is out of step; write it anew with: go test ./internal/deployment -run %s -update", t.Name())
}

func TestConfigurationWithMemoryStores(t *testing.T) {
	s := sampleSettings()
	s.Store = Memory
	text, err := s.render()
	require.NoError(t, err)
	assert.Contains(t, string(text), "\nta-store:\n  backend: memory\n")
	assert.NotContains(t, string(text), "sqlite")
}

func TestConfigurationWithProvisioner(t *testing.T) {
	s := sampleSettings()
	var err error
	s.Provisioner, s.PasswordHash, err = (&User{Name: "operator", Password: "secret"}).hashed()
	require.NoError(t, err)
	text, err := s.render()
	require.NoError(t, err)
	assert.Contains(t, string(text), "\nauth:\n  backend: basic\n  users:\n    \"operator\":\n      password: \"$2a$")
	assert.NotContains(t, string(text), "secret")
	assert.NotContains(t, string(text), "backend: passthrough")

	// Veraison would not find him.
	for _, u := range []User{{Name: "Operator", Password: "x"}, {Name: "operator"}, {Password: "x"}} {
		_, err := Config{BinDir: "x", PluginDir: "x", Dir: "x", Provisioner: &u}.checked()
		assert.ErrorContains(t, err, "the provisioner needs a name in lower case, and a password")
	}
}

func TestQuoting(t *testing.T) {
	s := sampleSettings()
	s.PluginDir = "/tmp/a \"quoted\": #folder\n"
	text, err := s.render()
	require.NoError(t, err)
	assert.Contains(t, string(text), `dir: "/tmp/a \"quoted\": #folder\n"`)
	assert.Equal(t, "file:///a%20b/c%3Fd%23e?mode=rw", sqliteSource("/a b/c?d#e"))
}
