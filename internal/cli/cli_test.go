// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/cmw"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/internal/tpmwire"
	"github.com/veraison/attested-tls/rp"
)

// run runs the program as a terminal's, with what it prints.
func run(t *testing.T, env map[string]string, tty bool, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), Env{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Getenv: func(name string) string { return env[name] }, StdoutTTY: tty, StderrTTY: tty,
	})
	return code, out.String(), errs.String()
}

// TestColours: on a terminal only, and not where NO_COLOR is set.
func TestColours(t *testing.T) {
	result := filepath.Join("testdata", "inspect", "ear.jwt")
	for _, test := range []struct {
		tty    bool
		env    map[string]string
		colour bool
	}{
		{tty: true, colour: true},
		{tty: false},
		{tty: true, env: map[string]string{"NO_COLOR": "1"}},
		{tty: true, env: map[string]string{"TERM": "dumb"}},
	} {
		code, stdout, stderr := run(t, test.env, test.tty, "inspect", result)
		require.Equal(t, exitOK, code, stderr)
		assert.Equal(t, test.colour, strings.Contains(stdout, "\x1b["), test)
	}
	// JSON is for programs, on a terminal too.
	_, stdout, _ := run(t, nil, true, "inspect", "--json", result)
	assert.NotContains(t, stdout, "\x1b[")
}

// TestBinaryToTerminal: what is not text is kept off a terminal.
func TestBinaryToTerminal(t *testing.T) {
	corim := filepath.Join("testdata", "inspect", "v2.corim")
	code, stdout, stderr := run(t, nil, true, "convert", "--dialect", "v1", corim, "-o", "-")
	assert.Equal(t, exitUsage, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "atls: the output is not text")
	code, stdout, _ = run(t, nil, false, "convert", "--dialect", "v1", corim, "-o", "-")
	assert.Equal(t, exitOK, code)
	want, err := os.ReadFile(filepath.Join("testdata", "inspect", "v2.corim"))
	require.NoError(t, err)
	back, err := endorsements.Convert([]byte(stdout), endorsements.DialectV2)
	require.NoError(t, err)
	assert.Equal(t, want, back)
}

func TestNoTPM(t *testing.T) {
	if _, err := os.Stat("/dev/tpmrm0"); err == nil {
		t.Skip("this machine has a TPM")
	}
	code, _, stderr := run(t, nil, false, "key", "create", "ak", "-o", filepath.Join(t.TempDir(), "ak.pem"))
	assert.Equal(t, exitTPM, code)
	assert.Contains(t, stderr, "hint: this machine seems to have no TPM")
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestBrokenStdout(t *testing.T) {
	var errs bytes.Buffer
	code := Main(t.Context(), Env{Args: []string{"version"}, Stdout: brokenWriter{}, Stderr: &errs, Getenv: os.Getenv})
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, errs.String(), "atls: write to standard output: ")
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs bytes.Buffer
	code := Main(ctx, Env{
		Args:   []string{"verify", "testdata/inspect/bundle.cbor", "--nonce", "0011223344556677", "--corim", "testdata/inspect/v2.corim"},
		Stdout: io.Discard, Stderr: &errs, Getenv: os.Getenv,
	})
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, errs.String(), "atls: interrupted: ")
}

// TestWriteFile: whole or not at all, and nothing beside it.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	require.NoError(t, writeFile(path, []byte("one"), 0o600, false))
	require.ErrorIs(t, writeFile(path, []byte("two"), 0o600, false), fs.ErrExist)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "one", string(got))
	require.NoError(t, writeFile(path, []byte("three"), 0o644, true))
	got, err = os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "three", string(got))
	st, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o644), st.Mode())
	// A folder cannot be replaced by a file.
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	require.Error(t, writeFile(filepath.Join(dir, "folder"), nil, 0o600, true))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 2)
}

// TestClassify: an error that no command has classified is what its type says.
func TestClassify(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{errors.New("anything"), exitFailure},
		{&rp.PolicyError{}, exitPolicy},
		{rp.ErrNoPolicy, exitPolicy},
		{&bundle.Error{}, exitRefused},
		{&rp.ProblemError{}, exitVerifier},
		{&rp.ProtocolError{Err: io.EOF}, exitVerifier},
		{rp.ErrSessionExpired, exitVerifier},
		{attester.ErrLockout, exitTPM},
		{attester.ErrNotAK, exitInput},
		{&endorsements.Error{Err: io.EOF}, exitInput},
		{&fs.PathError{Err: fs.ErrPermission}, exitInput},
		{usageErrorf("x"), exitUsage},
		{tpmErrorf("%w", fs.ErrNotExist), exitTPM}, // what was said counts
	} {
		assert.Equal(t, test.want, classify(fmt.Errorf("wrapped: %w", test.err)).code, "%T %v", test.err, test.err)
	}
}

// TestExitCodesDocumented: "atls help exit-codes" has every code.
func TestExitCodesDocumented(t *testing.T) {
	code, stdout, _ := run(t, nil, false, "help", "exit-codes")
	require.Equal(t, exitOK, code)
	for _, c := range []int{exitOK, exitFailure, exitUsage, exitInput, exitRefused, exitPolicy, exitVerifier, exitTPM} {
		assert.Contains(t, stdout, fmt.Sprintf("\n  %d  ", c))
	}
}

// TestRole: each attribute that decides, by itself.
func TestRole(t *testing.T) {
	const tik = tpmwire.FixedTPM | tpmwire.FixedParent | tpmwire.SensitiveDataOrigin | tpmwire.Sign
	assert.Equal(t, roleTIK, role(tik))
	assert.Equal(t, roleAK, role(tik|tpmwire.Restricted))
	for _, a := range []tpmwire.Attributes{
		tik &^ tpmwire.FixedTPM, tik &^ tpmwire.FixedParent, tik &^ tpmwire.SensitiveDataOrigin, tik &^ tpmwire.Sign,
		tik | tpmwire.Decrypt, tik | tpmwire.Restricted | tpmwire.Decrypt,
	} {
		assert.NotContains(t, []string{roleAK, roleTIK}, role(a), a)
	}
}

// TestAttributeMeanings: every attribute has words, under the name that tpmwire
// has for it.
func TestAttributeMeanings(t *testing.T) {
	for bit := range 32 {
		name := tpmwire.Attributes(1 << bit).String()
		if !strings.HasPrefix(name, "bit") { // as reserved ones are shown
			assert.NotEmpty(t, attributeMeanings[name], name)
		}
	}
}

// TestClaimMeaning: the words are those of the category.
func TestClaimMeaning(t *testing.T) {
	assert.Equal(t, "unrecognized run-time", claimMeaning("executables", 33))
	assert.Equal(t, "genuine", claimMeaning("hardware", 2))
	assert.Equal(t, "unencrypted secrets", claimMeaning("storage-opaque", 96))
	assert.Empty(t, claimMeaning("no category", 2))
}

func TestInspectCMWOfResult(t *testing.T) {
	token, err := os.ReadFile(filepath.Join("testdata", "inspect", "ear.jwt"))
	require.NoError(t, err)
	record := cmw.Record{Type: "application/eat+jwt", Value: bytes.TrimSpace(token), Indicator: cmw.AttestationResults}
	found, err := inspect(t.Context(), record.EncodeCBOR())
	require.NoError(t, err)
	assert.Equal(t, "attestation result (EAR), not verified (CMW)", found.kind)
	record.Type, record.Value = "text/plain", []byte("hello")
	_, err = inspect(t.Context(), record.EncodeCBOR())
	require.Error(t, err)
}

// TestInspectIsNoVerification: what is shown of a result says that nobody
// verified it, though it is read through a signature.
func TestInspectIsNoVerification(t *testing.T) {
	token, err := os.ReadFile(filepath.Join("testdata", "inspect", "ear.jwt"))
	require.NoError(t, err)
	info, err := readUnverifiedEAR(t.Context(), string(token))
	require.NoError(t, err)
	assert.False(t, info.Verified)
	assert.Empty(t, info.Token)
}

// TestContentID: a CoRIM's own name is that of its content.
func TestContentID(t *testing.T) {
	key := evidencetest.ECKey(t, elliptic.P256())
	text, err := endorsements.MarshalKeyPEM(&key.PublicKey)
	require.NoError(t, err)
	info, err := publicKeyInfo("", &key.PublicKey)
	require.NoError(t, err)
	anchor := func(class string) endorsements.TrustAnchor {
		kid, err := hex.DecodeString(info.KID)
		require.NoError(t, err)
		a, err := endorsements.NewTrustAnchor(class, kid, text)
		require.NoError(t, err)
		return a
	}
	one := &endorsements.Corim{Anchors: []endorsements.TrustAnchor{anchor("cd1f0e55-26f9-460d-b9d8-f7fde171787c")}}
	two := &endorsements.Corim{Anchors: []endorsements.TrustAnchor{anchor("cd1f0e55-26f9-460d-b9d8-f7fde171787d")}}
	id := contentID(one, "v", "m")
	assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, id)
	assert.Equal(t, id, contentID(one, "v", "m"))
	assert.NotEqual(t, id, contentID(two, "v", "m"))
	assert.NotEqual(t, id, contentID(one, "vm", ""))
	assert.NotEqual(t, id, contentID(one, "v", "m2"))
}
