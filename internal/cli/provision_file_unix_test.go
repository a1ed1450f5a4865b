// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

//go:build unix && !solaris && !aix

package cli

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A named pipe that nobody writes to does not hold the command up.
func TestProvisionNamedPipe(t *testing.T) {
	fleet := t.TempDir()
	require.NoError(t, writeFleet(fleet, 0, 1))
	pipe := filepath.Join(fleet, "pipe.cbor")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	url := onSubmit(t, func(int32) { t.Error("sent") })
	done := make(chan struct{})
	go func() {
		defer close(done)
		code, stdout, stderr := provisionIn(t.Context(), false, "--url", url, "--no-report", fleet)
		if code != exitInput || stdout != "" {
			t.Errorf("exit code %d, printed %q", code, stdout)
		}
		if want := "atls: " + pipe + ": it is not a regular file\n"; !strings.Contains(stderr, want) {
			t.Errorf("got %q, want %q", stderr, want)
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for a writer")
	}
}
