// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"testing"
)

// How much of each log a failed test shows.
const testLogLines = 200

// StartForTest starts a deployment that ends with the test, and whose logs are
// shown when the test has failed. BinDir and Dir may be left out: they are
// FindBinDir's and a temporary folder then. A deployment that does not start,
// also because the services are not built, fails the test.
func StartForTest(t testing.TB, cfg Config) *Deployment {
	t.Helper()
	if cfg.BinDir == "" {
		dir, err := FindBinDir()
		if err != nil {
			t.Fatal(err)
		}
		cfg.BinDir = dir
	}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	d, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			d.showLogs(t)
		}
	})
	return d
}

func (d *Deployment) showLogs(t testing.TB) {
	t.Helper()
	for _, service := range Services() {
		text, err := d.Logs(service)
		if err != nil {
			t.Errorf("log of %s: %v", service, err)
			continue
		}
		t.Logf("log of %s:\n%s", service, tail(text, testLogLines))
	}
}
