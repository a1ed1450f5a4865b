// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/internal/deployment"
)

const (
	pluginPath   = "github.com/veraison/attested-tls/plugin"
	servicesPath = "github.com/veraison/services"
	pluginName   = "attested-tls.plugin"
)

// scratch is a folder for what all tests share.
var scratch = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "atls-integration") })

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := scratch(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// goTool runs the go command. A test's working directory is its package's, so
// go finds the module by walking up from there.
func goTool(args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// servicesVersion is what attestation results name as the verifier's build.
var servicesVersion = sync.OnceValues(func() (string, error) {
	return goTool("list", "-m", "-f", "{{.Version}}", servicesPath)
})

// buildPlugin builds the plugin, and returns a folder with nothing else in it.
func buildPlugin(folder string, flags ...string) (string, error) {
	root, err := scratch()
	if err != nil {
		return "", err
	}
	version, err := servicesVersion()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, folder)
	args := slices.Concat([]string{"build"}, flags, []string{
		"-ldflags", "-s -w -X " + servicesPath + "/config.Version=" + version, "-o", filepath.Join(dir, pluginName), pluginPath,
	})
	if _, err := goTool(args...); err != nil {
		return "", fmt.Errorf("building the plugin: %w", err)
	}
	return dir, nil
}

var (
	// As make build does.
	shippedPlugin = sync.OnceValues(func() (string, error) { return buildPlugin("shipped", "-trimpath") })
	// With what go test -race has compiled for the tests.
	racePlugin = sync.OnceValues(func() (string, error) { return buildPlugin("race", "-race") })
)

// ours is a plugins folder with this project's plugin, which watches for races
// when the test does.
func ours(t testing.TB) string {
	t.Helper()
	build := shippedPlugin
	if raceDetector {
		build = racePlugin
	}
	dir, err := build()
	require.NoError(t, err)
	return dir
}

// veraisons is a plugins folder with Veraison's own plugin.
func veraisons(t testing.TB) string {
	t.Helper()
	bin, err := deployment.FindBinDir()
	require.NoError(t, err)
	return deployment.ParsecTPMPluginDir(bin)
}

// veraisonVector reads one of the test vectors of Veraison's parsec-tpm scheme.
func veraisonVector(t testing.TB, path ...string) []byte {
	t.Helper()
	dir, err := goTool("list", "-m", "-f", "{{.Dir}}", servicesPath)
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(append([]string{dir, "scheme", "parsec-tpm", "test"}, path...)...))
	require.NoError(t, err)
	return data
}

// start starts a deployment for the test. A race in a plugin ends the plugin,
// and so fails the test.
func start(t testing.TB, plugins string, store deployment.Store) *deployment.Deployment {
	t.Helper()
	return deployment.StartForTest(t, deployment.Config{
		PluginDir: plugins,
		Store:     store,
		Env:       []string{"GORACE=halt_on_error=1"},
	})
}
