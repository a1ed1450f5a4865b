// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/plugin/internal/config"
)

func publicPEM(t testing.TB, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return key
}

func rootPEM(t testing.TB) string {
	t.Helper()
	key := ecKey(t, elliptic.P256())
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// write writes files into a folder of their own, and returns the folder.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

func quoted(t testing.TB, s string) string {
	t.Helper()
	text, err := json.Marshal(s)
	require.NoError(t, err)
	return string(text)
}

func TestLoad(t *testing.T) {
	first, second := ecKey(t, elliptic.P384()).Public(), ed25519.PublicKey(make([]byte, 32))
	dir := write(t, map[string]string{
		"config.json": `{
			"accept-unsigned": false,
			"trusted-signers": [
				{"name": "first", "key": ` + quoted(t, publicPEM(t, first)) + `},
				{"name": "second", "key-file": "second.pem"}
			],
			"roots-file": "roots.pem",
			"max-corim-size": 1000,
			"max-trust-anchors": 10,
			"max-reference-states": 20
		}`,
		"second.pem": "the second signer\n" + publicPEM(t, second),
		"roots.pem":  rootPEM(t) + "and another one\n" + rootPEM(t),
	})
	c, err := config.Load(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	require.NotNil(t, c.Roots)
	assert.True(t, c.TakesSigned())
	c.Roots = nil
	assert.Equal(t, config.Config{
		Signers:      []config.Signer{{Name: "first", Key: first}, {Name: "second", Key: second}},
		MaxCorimSize: 1000, MaxTrustAnchors: 10, MaxReferenceStates: 20,
	}, c)

	// Files may be elsewhere.
	dir = write(t, map[string]string{"config.json": `{"accept-unsigned": true, "roots-file": ` + quoted(t, filepath.Join(dir, "roots.pem")) + `}`})
	c, err = config.Load(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	assert.True(t, c.AcceptUnsigned && c.TakesSigned())
	assert.Equal(t, endorsements.MaxSignedSize, c.MaxCorimSize)
	assert.Positive(t, c.MaxTrustAnchors)
	assert.Positive(t, c.MaxReferenceStates)

	c, err = config.Load("")
	require.NoError(t, err)
	assert.Equal(t, config.Default(), c)
	assert.True(t, c.AcceptUnsigned)
	assert.False(t, c.TakesSigned())
}

// TestDocumentation: the example in the documentation can be used.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "plugin-configuration.md"))
	require.NoError(t, err)
	_, example, _ := strings.Cut(string(text), "```json\n")
	example, _, found := strings.Cut(example, "```")
	require.True(t, found)
	dir := write(t, map[string]string{
		"attested-tls.json": example, "corim-roots.pem": rootPEM(t), "firmware-team.pem": publicPEM(t, ecKey(t, elliptic.P256()).Public()),
	})
	c, err := config.Load(filepath.Join(dir, "attested-tls.json"))
	require.NoError(t, err)
	assert.False(t, c.AcceptUnsigned)
	assert.Equal(t, "firmware team", c.Signers[0].Name)
	for _, name := range []string{config.Env, config.FileName, fmt.Sprint(endorsements.MaxSignedSize)} {
		assert.Contains(t, string(text), name)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	binary := func() (string, error) { return filepath.Join(dir, "attested-tls.plugin"), nil }
	started := filepath.Join(dir, "attested-tls.plugin")
	unset := func(string) string { return "" }
	path, err := config.Find(unset, started, binary)
	require.NoError(t, err)
	assert.Empty(t, path)

	beside := filepath.Join(dir, "attested-tls.json")
	require.NoError(t, os.WriteFile(beside, nil, 0o600))
	path, err = config.Find(unset, started, binary)
	require.NoError(t, err)
	assert.Equal(t, beside, path)

	path, err = config.Find(func(name string) string {
		assert.Equal(t, "ATTESTED_TLS_PLUGIN_CONFIG", name)
		return "/elsewhere"
	}, started, binary)
	require.NoError(t, err)
	assert.Equal(t, "/elsewhere", path)

	// A link that leads nowhere is a configuration that cannot be read.
	require.NoError(t, os.Remove(beside))
	require.NoError(t, os.Symlink("nowhere", beside))
	path, err = config.Find(unset, started, binary)
	require.NoError(t, err)
	_, err = config.Load(path)
	require.ErrorIs(t, err, os.ErrNotExist)

	_, err = config.Find(unset, started, func() (string, error) { return "", errors.New("no /proc") })
	require.EqualError(t, err, "looking for attested-tls.json beside the plugin: no /proc")
}

// A plugin that is a link has its configuration beside the link or beside what
// it leads to, and not beside both.
func TestFindBesideALink(t *testing.T) {
	plugins, real := t.TempDir(), t.TempDir()
	started := filepath.Join(plugins, "attested-tls.plugin")
	binary := func() (string, error) { return filepath.Join(real, "attested-tls.plugin"), nil }
	unset := func(string) string { return "" }
	besideLink, besideBinary := filepath.Join(plugins, "attested-tls.json"), filepath.Join(real, "attested-tls.json")
	for _, only := range []string{besideLink, besideBinary} {
		require.NoError(t, os.WriteFile(only, nil, 0o600))
		path, err := config.Find(unset, started, binary)
		require.NoError(t, err)
		assert.Equal(t, only, path)
		require.NoError(t, os.Remove(only))
	}
	require.NoError(t, os.WriteFile(besideBinary, nil, 0o600))
	require.NoError(t, os.Link(besideBinary, besideLink))
	_, err := config.Find(unset, started, binary)
	require.NoError(t, err, "one file")
	require.NoError(t, os.Remove(besideLink))
	require.NoError(t, os.WriteFile(besideLink, nil, 0o600))
	_, err = config.Find(unset, started, binary)
	require.ErrorContains(t, err, "keep one of them")
}

// Each case has one defect.
func TestLoadRefuses(t *testing.T) {
	good := publicPEM(t, ecKey(t, elliptic.P256()).Public())
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	signer := func(member string) string {
		return `{"accept-unsigned": true, "trusted-signers": [{"name": "x", ` + member + `}]}`
	}
	key := func(text string) string { return signer(`"key": ` + quoted(t, text)) }
	files := map[string]string{
		"good.pem": good, "roots.pem": rootPEM(t), "text.pem": "no PEM", "two.pem": good + good,
		"bad-root.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})),
		"huge.pem":     strings.Repeat("x", 1<<20+1),
		"cut.pem":      rootPEM(t) + rootPEM(t)[:100],
	}
	for name, test := range map[string]struct{ text, want string }{
		"empty":                {``, "EOF"},
		"not JSON":             {`accept-unsigned: true`, "invalid character 'a' looking for beginning of value"},
		"null":                 {`null`, "expected a JSON object, found null"},
		"a list":               {`[]`, "json: cannot unmarshal array into Go value of type config.file"},
		"something follows":    {`{"accept-unsigned": true} {}`, "something follows the JSON object"},
		"nothing said":         {`{}`, "accept-unsigned: missing; expected true or false"},
		"said as text":         {`{"accept-unsigned": "yes"}`, "json: cannot unmarshal string into Go struct field file.accept-unsigned of type bool"},
		"nothing accepted":     {`{"accept-unsigned": false}`, "no CoRIM would be accepted; expected trusted-signers or a roots-file, or accept-unsigned to be true"},
		"misspelt":             {`{"accept-unsigned": true, "trusted-signer": []}`, `json: unknown field "trusted-signer"`},
		"in upper case":        {`{"accept-unsigned": false, "Accept-Unsigned": true}`, `unknown field "Accept-Unsigned"; names are in lower case`},
		"there twice":          {`{"accept-unsigned": false, "accept-unsigned": true}`, "accept-unsigned: there twice"},
		"signer's key twice":   {signer(`"key": "", "key": ""`), "key: there twice"},
		"nested too deep":      {`{"x": [[[[0]]]]}`, "nested deeper than 3"},
		"signer without name":  {`{"accept-unsigned": true, "trusted-signers": [{"key-file": "good.pem"}]}`, "trusted-signers[0]: name: missing"},
		"signer without key":   {`{"accept-unsigned": true, "trusted-signers": [{"name": "x"}]}`, "trusted-signers[0]: expected either a key or a key-file"},
		"key and file":         {signer(`"key": "", "key-file": "good.pem"`), "trusted-signers[0]: expected either a key or a key-file"},
		"unknown member":       {signer(`"key-file": "good.pem", "roots": 1`), `json: unknown field "roots"`},
		"no such file":         {signer(`"key-file": "none.pem"`), "trusted-signers[0]: key-file: open DIR/none.pem: no such file or directory"},
		"a folder":             {signer(`"key-file": "."`), "trusted-signers[0]: key-file: DIR: not a regular file"},
		"huge file":            {signer(`"key-file": "huge.pem"`), "trusted-signers[0]: key-file: DIR/huge.pem: more than 1048576 bytes"},
		"no PEM":               {signer(`"key-file": "text.pem"`), "trusted-signers[0]: key: expected one PEM block PUBLIC KEY, found 0"},
		"two keys":             {signer(`"key-file": "two.pem"`), "trusted-signers[0]: key: expected one PEM block PUBLIC KEY, found 2"},
		"malformed PEM":        {key(good[:80]), "trusted-signers[0]: key: expected PEM blocks PUBLIC KEY, found a malformed one"},
		"certificate":          {signer(`"key-file": "roots.pem"`), `trusted-signers[0]: key: expected PEM blocks PUBLIC KEY, found one of "CERTIFICATE"`},
		"private key":          {key(strings.ReplaceAll(good, "PUBLIC", "PRIVATE")), `trusted-signers[0]: key: expected PEM blocks PUBLIC KEY, found one of "PRIVATE KEY"`},
		"RSA":                  {key(publicPEM(t, rsaKey.Public())), "trusted-signers[0]: key: expected an ECDSA or Ed25519 key, found *rsa.PublicKey"},
		"P-224":                {key(publicPEM(t, ecKey(t, elliptic.P224()).Public())), "trusted-signers[0]: key: expected an ECDSA key on P-256, P-384 or P-521, found one on P-224"},
		"no root file":         {`{"accept-unsigned": true, "roots-file": "none.pem"}`, "roots-file: open DIR/none.pem: no such file or directory"},
		"empty name of a file": {`{"accept-unsigned": true, "roots-file": ""}`, "roots-file: DIR: not a regular file"},
		"no root in it":        {`{"accept-unsigned": true, "roots-file": "text.pem"}`, "roots-file: expected PEM blocks CERTIFICATE, found none"},
		"no certificate":       {`{"accept-unsigned": true, "roots-file": "bad-root.pem"}`, "roots-file: certificate 0: x509: malformed certificate"},
		"half a certificate":   {`{"accept-unsigned": true, "roots-file": "cut.pem"}`, "roots-file: expected PEM blocks CERTIFICATE, found a malformed one"},
		"size 0":               {`{"accept-unsigned": true, "max-corim-size": 0}`, "max-corim-size: expected 1 to 1114112, found 0"},
		"size too large":       {`{"accept-unsigned": true, "max-corim-size": 1114113}`, "max-corim-size: expected 1 to 1114112, found 1114113"},
		"anchors":              {`{"accept-unsigned": true, "max-trust-anchors": -1}`, "max-trust-anchors: expected 1 to 1048576, found -1"},
		"states":               {`{"accept-unsigned": true, "max-reference-states": 0}`, "max-reference-states: expected 1 to 1048576, found 0"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, files)
			path := filepath.Join(dir, "config.json")
			require.NoError(t, os.WriteFile(path, []byte(test.text), 0o600))
			c, err := config.Load(path)
			assert.Zero(t, c)
			require.EqualError(t, err, path+": "+strings.ReplaceAll(test.want, "DIR", dir))
		})
	}
	c, err := config.Load(filepath.Join(t.TempDir(), "none"))
	assert.Zero(t, c)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// FuzzLoad: no text is read to mean more than it says.
func FuzzLoad(f *testing.F) {
	f.Add(`{"accept-unsigned": true, "max-corim-size": 1000}`)
	f.Add(`{"accept-unsigned": false, "trusted-signers": [{"name": "x", "key": ` + quoted(f, publicPEM(f, ecKey(f, elliptic.P256()).Public())) + `}]}`)
	path := filepath.Join(f.TempDir(), "config.json")
	f.Fuzz(func(t *testing.T, text string) {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		c, err := config.Load(path)
		if err != nil {
			require.Zero(t, c)
			return
		}
		require.True(t, c.AcceptUnsigned || c.TakesSigned())
		if c.AcceptUnsigned {
			require.Contains(t, text, "true")
		}
		if c.TakesSigned() {
			require.Contains(t, text, "BEGIN PUBLIC KEY")
		}
	})
}
