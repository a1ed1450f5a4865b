// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/testvectors"
)

// TestRun: the program still makes the vectors that are in the repository,
// with the same verdicts; it deletes old vectors and nothing else.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	keep := filepath.Join(dir, "README.md")
	require.NoError(t, os.WriteFile(keep, []byte("kept"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "old.vec"), []byte("deleted"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))

	var stdout, stderr bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-out", dir}, &stdout, &stderr))
	assert.Contains(t, stdout.String(), ", 1 deleted, ")
	assert.Empty(t, stderr.String())
	assert.FileExists(t, keep)
	assert.NoFileExists(t, filepath.Join(dir, "old.vec"))
	assert.DirExists(t, filepath.Join(dir, "sub"))

	made, err := testvectors.Load(os.DirFS(dir))
	require.NoError(t, err)
	kept, err := testvectors.All()
	require.NoError(t, err)
	require.Len(t, made, len(kept), "run make vectors")
	for i, v := range kept {
		w := made[i]
		require.Equal(t, v.Name, w.Name, "run make vectors")
		assert.Equal(t, v.Comment, w.Comment, "%s: run make vectors", v.Name)
		assert.Equal(t, v.Spec, w.Spec, "%s: run make vectors", v.Name)
		assert.Equal(t, v.Want.Verdict, w.Want.Verdict, v.Name)
		assert.Equal(t, v.Want.Check, w.Want.Check, v.Name)
		assert.Equal(t, len(v.Want.Problems), len(w.Want.Problems), v.Name)
		assert.NotEqual(t, v.AK, w.AK, "%s: a key was kept", v.Name)
	}
}

// TestRunWritesAllOrNothing: when it fails the directory is as it was.
func TestRunWritesAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.vec")
	require.NoError(t, os.WriteFile(old, []byte("kept"), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	assert.ErrorIs(t, run(ctx, []string{"-out", dir}, &stdout, &stderr), context.Canceled)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
	assert.FileExists(t, old)
	assert.Empty(t, stdout.String())
}

func TestRunRefuses(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.EqualError(t, run(t.Context(), []string{"here"}, &stdout, &stderr), `unexpected argument "here"`)
	assert.Error(t, run(t.Context(), []string{"-in", "here"}, &stdout, &stderr))
	assert.Error(t, run(t.Context(), []string{"-out", filepath.Join(t.TempDir(), "none")}, &stdout, &stderr))
}

// TestIntentions: a vector that does not give what the table says is refused.
func TestIntentions(t *testing.T) {
	l, err := openLab(t.Context())
	require.NoError(t, err)
	defer l.tpm.Close()
	replayed := func(_ context.Context, s *scene) (err error) {
		s.nonce, err = random(32)
		return err
	}
	for _, tt := range []struct {
		name, says string
		c          vectorCase
	}{
		{"no defect", "verdict is affirming, want bad-evidence", vectorCase{want: badEvidence("stale", "kat", "")}},
		{"a defect", "verdict is bad-evidence, want affirming", vectorCase{want: affirming(), change: replayed}},
		{"another check", `want check name of "kat"`, vectorCase{want: badEvidence("name", "kat", ""), change: replayed}},
		{"another token", `want check stale of "pat"`, vectorCase{want: badEvidence("stale", "pat", ""), change: replayed}},
		{"another text", `which does not say "too old"`, vectorCase{want: badEvidence("stale", "kat", "too old"), change: replayed}},
		{"another identity key", "another key is attested than intended", vectorCase{want: affirming(), change: func(ctx context.Context, s *scene) (err error) {
			s.tik, err = s.lab.tik(ctx, 1, es256())
			return err
		}}},
		{"bad before the change", "setting the scene", vectorCase{want: affirming(), sel: "sha1:0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.comment, tt.c.spec = "a comment", "a section"
			_, err := l.make(t.Context(), &tt.c)
			assert.ErrorContains(t, err, tt.says)
		})
	}
}
