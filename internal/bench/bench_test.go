// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The program starts itself as a worker; in a test, itself is the test.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		main()
	}
	os.Exit(m.Run())
}

// A whole run, as short as possible: what it measures is worth nothing.
func TestRun(t *testing.T) {
	plugin := filepath.Join(t.TempDir(), "attested-tls.plugin")
	built, err := exec.Command("go", "build", "-o", plugin, "github.com/veraison/attested-tls/plugin").CombinedOutput()
	require.NoError(t, err, string(built))

	var out bytes.Buffer
	err = run(t.Context(), options{rounds: 2, duration: 60 * time.Millisecond, clients: 2, plugin: plugin}, &out)
	require.NoError(t, err)
	t.Log("\n" + out.String())
	for _, want := range []string{
		"Veraison services v0.0.2501, go1",
		"round 2 of 2: attested-tls",
		"two bare ECDSA P-256 verifications",
		"five calls: attested-tls ÷ two bare",
		"appraisals/s: attested-tls ÷ Veraison parsec-tpm",
	} {
		assert.Contains(t, out.String(), want)
	}
	assert.NotContains(t, out.String(), "NaN")
}

func TestRunNeedsThePlugin(t *testing.T) {
	err := run(t.Context(), options{rounds: 1, duration: time.Millisecond, clients: 1, plugin: "nowhere"}, new(bytes.Buffer))
	assert.ErrorContains(t, err, "run make build")
}

func TestParse(t *testing.T) {
	o, err := parse(nil, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, options{rounds: 7, duration: 3 * time.Second, clients: 4, plugin: "bin/attested-tls.plugin"}, o)
	o, err = parse([]string{"-quick", "-clients", "1"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, options{rounds: 3, duration: 500 * time.Millisecond, clients: 1, plugin: "bin/attested-tls.plugin"}, o)
	for _, args := range [][]string{{"-rounds", "0"}, {"-clients", "0"}, {"-duration", "-1s"}, {"more"}} {
		_, err := parse(args, io.Discard)
		assert.Error(t, err, args)
	}
}

// Both sides must be measured by the same code.
func TestSharedFiles(t *testing.T) {
	for _, name := range []string{"protocol.go", "threadtime_linux.go", "threadtime_other.go"} {
		here, err := os.ReadFile(name)
		require.NoError(t, err)
		there, err := os.ReadFile(filepath.Join("..", "..", "deploy", "cmd", "bench", name))
		require.NoError(t, err)
		assert.Equal(t, string(here), string(there), name)
	}
}

func TestServe(t *testing.T) {
	in, err := newInputs(t.Context())
	require.NoError(t, err)
	given, err := json.Marshal(in)
	require.NoError(t, err)

	ask := func(requests string) ([]measurement, error) {
		var out bytes.Buffer
		err := serve(strings.NewReader(string(given)+requests), &out, newFiveCalls)
		var answers []measurement
		for dec := json.NewDecoder(&out); dec.More(); {
			var m measurement
			require.NoError(t, dec.Decode(&m))
			answers = append(answers, m)
		}
		return answers, err
	}
	got, err := ask(fmt.Sprintf(`{"run":%q,"iterations":40}{"run":%q,"iterations":80}`, fiveCalls, bare))
	require.NoError(t, err)
	require.Len(t, got, 3)
	assert.Zero(t, got[0], "the first says that it is ready")
	assert.Equal(t, 40, got[1].Iterations)
	assert.Equal(t, 80, got[2].Iterations)
	for _, m := range got[1:] {
		assert.Positive(t, m.Time)
		assert.Positive(t, m.Allocs)
	}

	_, err = ask(`{"run":"something else","iterations":1}`)
	assert.EqualError(t, err, `no such measurement: "something else"`)

	in.Evidence = in.Evidence[1:]
	given, err = json.Marshal(in)
	require.NoError(t, err)
	_, err = ask("")
	assert.ErrorContains(t, err, "extracting claims")
}

// A worker that cannot start says why.
func TestWorkerSaysWhy(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	_, err = startWorker(t.Context(), ours, inputs{}, self, workerCommand)
	assert.ErrorContains(t, err, "decoding the CoRIM")
	_, err = startWorker(t.Context(), ours, inputs{}, "nowhere")
	assert.ErrorContains(t, err, "starting attested-tls")
}

func TestSeries(t *testing.T) {
	s := series{4, 1, 3, 2, 5}
	assert.Equal(t, 3.0, s.median())
	assert.Equal(t, 2.0, s.quantile(0.25))
	assert.Equal(t, 4.0, s.quantile(0.75))
	assert.InDelta(t, 100.0/3, s.spread(), 1e-9)
	assert.Equal(t, series{4, 1, 3, 2, 5}, s, "the rounds' order stays")
	assert.Equal(t, series{2, 0.5}, series{4, 1, 3}.over(series{2, 2}))
	assert.Equal(t, 2.5, series{1, 2, 3, 4}.median())
	assert.True(t, math.IsNaN(series{}.median()))
}

func TestTable(t *testing.T) {
	figures := func(ns, allocs float64) *figures {
		return &figures{ns: series{ns, ns, ns}, allocs: series{allocs, allocs, allocs}, bytes: series{1, 1, 1}}
	}
	r := report{
		calls: map[string]inProcess{
			ours:   {bare: figures(100, 20), fiveCalls: figures(131, 200)},
			theirs: {bare: figures(110, 20), fiveCalls: figures(220, 1000)},
		},
		e2e: map[string]*endToEnd{ours: {rate: series{120}}, theirs: {rate: series{100}}},
	}
	var out bytes.Buffer
	require.NoError(t, r.write(&out))
	for _, want := range []string{
		"attested-tls ÷ two bare                      1.310   1.310 …  1.310 ≤ 1.3     NOT MET\n",
		"Veraison parsec-tpm ÷ two bare               2.000   2.000 …  2.000\n",
		"attested-tls ÷ Veraison parsec-tpm           0.595   0.595 …  0.595 ≤ 0.7     met\n",
		"allocations of attested-tls                    200                  ≤ 200     met\n",
		"attested-tls ÷ Veraison parsec-tpm         1.200   1.200 …  1.200 ≥ 1.2     met\n",
		"attested-tls                             120.0    0.0%        -        -        -        -        -\n", // no /proc
	} {
		assert.Contains(t, out.String(), want)
	}
}
