// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/endorsements"
)

const (
	zeros20 = "0000000000000000000000000000000000000000"
	zeros32 = "0000000000000000000000000000000000000000000000000000000000000000"
)

// pcrread is what tpm2_pcrread prints.
const pcrread = `  sha1:
    0 : 0x` + zeros20 + `
  sha256:
    0 : 0x` + zeros32 + `
    10: 0x3D458CFE55CC03EA1F443F1562BEEC8DF51C75E14A9FCF9A7234A13F198E7969
  sha384:
`

func TestPCRValues(t *testing.T) {
	p, err := parsePCRValues([]byte(pcrread))
	require.NoError(t, err)
	require.Len(t, p.values, 2)
	assert.Equal(t, []string{"sha1"}, p.passedOver)
	assert.Equal(t, byte(0x3d), p.values[endorsements.PCR{Bank: crypto.SHA256, Index: 10}][0])

	sel, err := attester.ParseSelection("sha256:10")
	require.NoError(t, err)
	values, err := p.take(sel)
	require.NoError(t, err)
	require.Len(t, values, 1)
	assert.Equal(t, 10, values[0].Index)
}

func TestPCRValuesRefused(t *testing.T) {
	for name, test := range map[string]struct{ old, new, want string }{
		"unknown bank":          {"sha256:", "md5:", `line 3: bank "md5" is not known`},
		"bank twice":            {"sha1:", "sha256:", "a digest of 20 bytes"},
		"bank twice, empty":     {"sha384:", "sha256:", "line 6: bank sha256 is there twice"},
		"no bank":               {"  sha1:\n", "", "line 1: a value before any bank"},
		"no colon":              {"    10: 0x", "    10 0x", "line 5"},
		"PCR twice":             {"    10:", "    0 :", "line 5: PCR sha256:0 is there twice"},
		"PCR above 23":          {"    10:", "    24:", `"24" is no PCR`},
		"PCR with a sign":       {"    10:", "    +1:", `"+1" is no PCR`},
		"PCR in three digits":   {"    10:", "    010:", `"010" is no PCR`},
		"no 0x":                 {"    10: 0x", "    10: ", "PCR 10: "},
		"not hexadecimal":       {"0x3D", "0xGG", "is no digest"},
		"too short":             {"0x3D", "0x", "a digest of 31 bytes, want 32"},
		"too long":              {"0x3D", "0x3D3D", "a digest of 33 bytes, want 32"},
		"a sha1 value too":      {zeros20 + "\n  sha256", zeros20[2:] + "\n  sha256", "a digest of 19 bytes, want 20"},
		"something after":       {"  sha384:", "  sha384: x", `is no PCR`},
		"bytes that no one see": {"  sha384:", "  sha384:\x00", "not text"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(pcrread, test.old, test.new, 1)
			require.NotEqual(t, pcrread, text)
			_, err := parsePCRValues([]byte(text))
			require.ErrorContains(t, err, test.want)
		})
	}
	_, err := parsePCRValues([]byte("sha1:\n 0: 0x" + zeros20))
	require.ErrorContains(t, err, "no PCR values of a bank")
	_, err = parsePCRValues([]byte("sha256:\n" + strings.Repeat(" ", maxPCRValues)))
	require.ErrorContains(t, err, "at most")
}

func FuzzPCRValues(f *testing.F) {
	f.Add([]byte(pcrread))
	f.Add([]byte("sha512:\r\n 23:0x" + zeros32 + zeros32))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePCRValues(data)
		if err != nil {
			return
		}
		values, err := p.take(nil)
		require.NoError(t, err)
		// What is read can be endorsed.
		_, err = endorsements.NewReferenceState("cd1f0e55-26f9-460d-b9d8-f7fde171787c", values)
		require.NoError(t, err)
	})
}

func FuzzInspect(f *testing.F) {
	seeds, err := filepath.Glob(filepath.Join("testdata", "inspect", "*"))
	require.NoError(f, err)
	require.NotEmpty(f, seeds)
	for _, path := range seeds {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := inspect(t.Context(), data)
		if err != nil {
			require.Nil(t, found)
			return
		}
		var b strings.Builder
		found.print(&b, paint{})
		require.NotEmpty(t, b.String())
		_, err = found.json("file")
		require.NoError(t, err)
	})
}

func FuzzSubject(f *testing.F) {
	f.Add(`CN=host,O=Example\, Inc.`)
	f.Fuzz(func(t *testing.T, s string) {
		name, err := parseSubject(s)
		if err == nil && s != "" {
			require.NotEmpty(t, name.ToRDNSequence())
		}
	})
}

func TestParseNonce(t *testing.T) {
	a := &app{}
	for text, want := range map[string]string{
		"3132333435363738":        "12345678",
		"hex:3132333435363738":    "12345678",
		"base64:MTIzNDU2Nzg":      "12345678",
		"MTIzNDU2Nzg=":            "12345678",
		"AAAAAAAAAAAAAAAA":        "\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa",
		"base64:AAAAAAAAAAAAAAAA": strings.Repeat("\x00", 12), // the prefix decides
		"base64:-_-_-_-_-_-_":     "\xfb\xff\xbf\xfb\xff\xbf\xfb\xff\xbf",
	} {
		nonce, err := a.parseNonce(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, string(nonce), text)
	}
	for _, text := range []string{"", "31323334353637", "hex:zz", "base64:%%%", strings.Repeat("00", 65)} {
		_, err := a.parseNonce(text)
		require.Error(t, err, text)
		assert.Equal(t, exitUsage, asExitError(err).code, text)
	}
}
