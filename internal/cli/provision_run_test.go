// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/provisioning"
)

// provisionIn runs the command in this process.
func provisionIn(ctx context.Context, tty bool, args ...string) (code int, stdout, stderr string) {
	var out, diagnostics bytes.Buffer
	code = Main(ctx, Env{
		Args: append([]string{"provision", "--insecure-http"}, args...), Stdin: new(bytes.Reader),
		Stdout: &out, Stderr: &diagnostics, StderrTTY: tty, Getenv: func(string) string { return "" },
	})
	return code, out.String(), diagnostics.String()
}

// onSubmit serves a deployment of dialect v1; before a submission is accepted,
// the hook is called with its number.
func onSubmit(t *testing.T, hook func(n int32)) string {
	t.Helper()
	var n atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/veraison/provisioning", func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(map[string]any{
			"version": "scripted", "media-types": []string{endorsements.DialectV1.MediaType(false)},
		}); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("POST /endorsement-provisioning/v1/submit", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return // the client is gone
		}
		hook(n.Add(1))
		fmt.Fprint(w, `{"status":"success"}`)
	})
	return serveHTTP(t, mux)
}

// What is on its way when the command is interrupted comes to its end, so that
// nothing is left in doubt.
func TestProvisionInterrupted(t *testing.T) {
	fleet, report := t.TempDir(), filepath.Join(t.TempDir(), "report")
	require.NoError(t, writeFleet(fleet, 0, 20))
	ctx, cancel := context.WithCancel(t.Context())
	url := onSubmit(t, func(n int32) {
		if n == 5 {
			cancel()
			time.Sleep(50 * time.Millisecond)
		}
	})
	code, stdout, stderr := provisionIn(ctx, false, "--url", url, "--report", report, "-j", "2", fleet)
	require.Equal(t, exitFailure, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "interrupted")
	sent := countEvents(report, eventSending)
	require.Equal(t, sent, countEvents(report, eventAccepted), stderr)
	require.GreaterOrEqual(t, sent, 5)
	require.LessOrEqual(t, sent, 7)

	code, stdout, stderr = provisionIn(t.Context(), false, "--url", url, "--report", report, fleet)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, fmt.Sprintf("accepted         %d\n", 20-sent))
}

// A person sees how far it is, a log does not.
func TestProvisionProgress(t *testing.T) {
	fleet := t.TempDir()
	require.NoError(t, writeFleet(fleet, 0, 3))
	url := onSubmit(t, func(int32) { time.Sleep(100 * time.Millisecond) })
	for _, tty := range []bool{true, false} {
		code, stdout, stderr := provisionIn(t.Context(), tty, "--url", url, "--no-report", "-j", "1", fleet)
		require.Zero(t, code, stderr)
		require.NotContains(t, stdout, "provisioning ")
		if tty {
			require.Contains(t, stderr, "provisioning")
		} else {
			require.Empty(t, stderr)
		}
	}
}

// A file that is changed between check and sending is not sent.
func TestProvisionChangedFile(t *testing.T) {
	fleet := t.TempDir()
	require.NoError(t, writeFleet(fleet, 0, 2))
	url := onSubmit(t, func(n int32) {
		if n == 1 {
			if err := writeFleet(fleet, 1, 1); err != nil {
				t.Error(err)
			}
		}
	})
	code, _, stderr := provisionIn(t.Context(), false, "--url", url, "--no-report", "-j", "1", fleet)
	require.Equal(t, exitInput, code)
	require.Contains(t, stderr, "device-00001.cbor: the file has changed since it was checked")
}

// Nothing is sent that the report does not know of.
func TestProvisionReportLost(t *testing.T) {
	fleet := t.TempDir()
	require.NoError(t, writeFleet(fleet, 0, 1))
	url := onSubmit(t, func(int32) { t.Error("sent without a report") })
	client, err := provisioning.New(url, provisioning.Config{InsecureHTTP: true})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "report")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	readOnly, err := os.Open(path)
	require.NoError(t, err)
	run := &provisionRun{client: client, report: &report{path: path, url: url, file: readOnly}}
	t.Cleanup(run.report.close)
	i := readItem(filepath.Join(fleet, "device-00000.cbor"), time.Now())
	require.Equal(t, pending, i.outcome, i.reason)
	run.sendOne(t.Context(), i)
	require.Equal(t, failed, i.outcome)
	require.Contains(t, i.reason, "report "+path)
}

// What there is to warn of can still be heeded.
func TestProvisionWarnsFirst(t *testing.T) {
	fleet := t.TempDir()
	key, err := newKeyPEM()
	require.NoError(t, err)
	data, err := anchorCorim(1, key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(fleet, "a.cbor"), data, 0o600))
	c, err := endorsements.Decode(data)
	require.NoError(t, err)
	c.ID = "another"
	data, err = c.Encode(endorsements.DialectV2)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(fleet, "b.cbor"), data, 0o600))
	var diagnostics syncBuffer
	url := onSubmit(t, func(int32) {
		if text := diagnostics.String(); !strings.Contains(text, "the device is refused where two of them differ") {
			t.Errorf("sent, and warned of: %q", text)
		}
	})
	var out bytes.Buffer
	require.Zero(t, Main(t.Context(), Env{
		Args:  []string{"provision", "--insecure-http", "--url", url, "--no-report", fleet},
		Stdin: new(bytes.Reader), Stdout: &out, Stderr: &diagnostics, Getenv: func(string) string { return "" },
	}), diagnostics.String())
	require.Equal(t, 1, strings.Count(diagnostics.String(), "atls: warning:"))
}

// syncBuffer can be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Nothing is sent once a line of the report did not fit, --keep-going or not.
func TestProvisionDiskFull(t *testing.T) {
	fleet := t.TempDir()
	require.NoError(t, writeFleet(fleet, 0, 5))
	var sent atomic.Int32
	url := onSubmit(t, func(n int32) { sent.Store(n) })
	client, err := provisioning.New(url, provisioning.Config{InsecureHTTP: true})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	r, err := openReport(filepath.Join(t.TempDir(), "report"), url, true)
	require.NoError(t, err)
	t.Cleanup(r.close)
	require.NoError(t, r.begin())
	disk := &fullDisk{File: r.file.(*os.File), room: 1 << 20}
	r.file = disk
	run := &provisionRun{
		app: &app{env: Env{Stderr: io.Discard}}, client: client, report: r,
		flags: &provisionFlags{jobs: 1, keepGoing: true},
	}
	for i := range 5 {
		run.items = append(run.items, readItem(filepath.Join(fleet, fmt.Sprintf("device-%05d.cbor", i)), time.Now()))
	}
	disk.room = 20
	run.send(t.Context())
	require.Zero(t, sent.Load())
	require.Equal(t, failed, run.items[0].outcome)
	for _, i := range run.items[1:] {
		require.Equal(t, pending, i.outcome, i.reason)
	}
}
