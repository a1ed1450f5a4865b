// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// BinDirEnv names the environment variable that overrides where FindBinDir
// looks.
const BinDirEnv = "ATLS_VERAISON_BIN"

const modulePath = "github.com/veraison/attested-tls"

// FindBinDir returns the folder that holds the Veraison services: the one that
// ATLS_VERAISON_BIN names, or bin/veraison of the repository that the working
// directory is in. When they are not there, the error says how to build them.
func FindBinDir() (string, error) {
	dir := os.Getenv(BinDirEnv)
	if dir == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", fmt.Errorf("looking for the Veraison services: %w", err)
		}
		dir = filepath.Join(root, "bin", "veraison")
	}
	for _, name := range []string{string(VTS), string(Provisioning), string(Verification), storeInit} {
		if err := checkExecutable(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("the Veraison services are not built: run make veraison: %w", err)
		}
	}
	return dir, nil
}

// ParsecTPMPluginDir is the plugins folder, under the binaries' one, that holds
// Veraison's own Parsec TPM plugin and nothing else.
func ParsecTPMPluginDir(binDir string) string {
	return filepath.Join(binDir, "plugins-parsec-tpm")
}

// moduleRoot walks up to the root module, past those that are nested in it.
func moduleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("asking for the working directory: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("reading go.mod: %w", err)
		}
		for line := range strings.Lines(string(data)) {
			if strings.TrimSpace(line) == "module "+modulePath {
				return dir, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not in the repository of %s", start, modulePath)
		}
	}
}
