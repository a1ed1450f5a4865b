// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package appraisal_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/internal/evidencetest"
)

func extract(t testing.TB) map[string]any {
	t.Helper()
	m, err := appraisal.ExtractClaims(evidencetest.New(t).Bundle(t))
	require.NoError(t, err)
	return m
}

// People and policies read this.
func TestClaimsAreReadable(t *testing.T) {
	m := extract(t)
	assert.Equal(t, "sha256:0,1,2,3,4,5,6,7", m["pcrs"])
	assert.Regexp(t, "^sha256:[0-9a-f]{64}$", m["pcr-digest"])
	assert.Equal(t, "86400123", m["clock"])
	assert.Equal(t, 3.0, m["reset-count"])
	assert.Equal(t, 1.0, m["restart-count"])
	assert.Equal(t, true, m["clock-safe"])
	assert.Equal(t, "0x2026000100020003", m["firmware-version"])
	assert.Equal(t, "fixedTPM|fixedParent|sensitiveDataOrigin|userWithAuth|sign", m["key-attributes"])
	assert.Equal(t, "ecdsa-sha256", m["key-scheme"])
	assert.Equal(t, "ECDSA P-256", m["key-type"])
	assert.Equal(t, "ecdsa-sha256", m["signature"])
}

// Each case has one defect.
func TestParseClaimsRefuses(t *testing.T) {
	const prefix = "the claims are not those of this scheme's ExtractClaims: "
	set := func(key string, v any) func(map[string]any) {
		return func(m map[string]any) { m[key] = v }
	}
	tests := []struct {
		name, want string
		defect     func(map[string]any)
	}{
		{"no format", "format is missing", func(m map[string]any) { delete(m, "format") }},
		{"another scheme's", `format is "tag:x", want "tag:github.com/veraison/attested-tls,2026:tpm-claims-1"`, set("format", "tag:x")},
		{"unknown claim", "16 claims, want 15", set("more", 1)},
		{"claim missing", "pcrs is missing", func(m map[string]any) { delete(m, "pcrs") }},
		{"pcrs not text", "pcrs is a float64, want a string", set("pcrs", 1.0)},
		{"pcrs null", "pcrs is a <nil>, want a string", set("pcrs", nil)},
		{"pcrs not a selection", `pcrs is malformed: "sha256:9,1": want PCRs of 0 to 31 in ascending order`, set("pcrs", "sha256:9,1")},
		{"digest not hex", "pcr-digest is malformed: encoding/hex: invalid byte: U+007A 'z'", set("pcr-digest", "sha256:zz")},
		{"hash SHA-1", "pcr-digest is malformed: hash algorithm sha1 is not accepted: want sha256, sha384 or sha512", set("pcr-digest", "sha1:00")},
		{"kid not base64", "kid is malformed: illegal base64 data at input byte 0", set("kid", "-")},
		{"kid not a UEID", "kid is not a UEID: invalid UEID type 0", set("kid", "AAAA")},
		{"key not base64url", "key is malformed: illegal base64 data at input byte 0", set("key", "+")},
		{"key not a key", "key is not a key: asn1: syntax error: sequence truncated", set("key", "")},
		{"key not accepted", "key is not a key: key of type ed25519.PublicKey: want ECDSA or RSA", set("key", "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE")},
		{"name not hex", "key-name is malformed: encoding/hex: odd length hex string", set("key-name", "0")},
		{"attributes unknown", `key-attributes is malformed: unexpected attribute "trusted"`, set("key-attributes", "trusted")},
		{"scheme unknown", `key-scheme is malformed: unknown algorithm "x"`, set("key-scheme", "x")},
		{"clock negative", `clock is malformed: strconv.ParseUint: parsing "-1": invalid syntax`, set("clock", "-1")},
		{"counter not whole", "reset-count is 1.5, want a whole number of 32 bits", set("reset-count", 1.5)},
		{"counter negative", "reset-count is -1, want a whole number of 32 bits", set("reset-count", -1.0)},
		{"counter too large", "restart-count is 4.294967296e+09, want a whole number of 32 bits", set("restart-count", 4294967296.0)},
		{"safe not boolean", "clock-safe is a string, want a bool", set("clock-safe", "true")},
		{"firmware without 0x", `firmware-version is malformed: "20" does not begin with 0x`, set("firmware-version", "20")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := extract(t)
			tt.defect(m)
			c, err := appraisal.ParseClaims(m)
			assert.Nil(t, c)
			assert.EqualError(t, err, prefix+tt.want)
		})
	}
	for name, m := range map[string]map[string]any{"nil": nil, "empty": {}} {
		_, err := appraisal.ParseClaims(m)
		assert.Error(t, err, name)
	}
}

func FuzzParseClaims(f *testing.F) {
	text, err := json.Marshal(extract(f))
	require.NoError(f, err)
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		var m map[string]any
		if json.Unmarshal(text, &m) != nil {
			return
		}
		c, err := appraisal.ParseClaims(m)
		if err != nil {
			return
		}
		c.Appraise(nil)
		c2, err := appraisal.ParseClaims(c.Map())
		if err != nil || !assert.ObjectsAreEqual(c, c2) {
			t.Fatalf("claims do not survive their map: %v", err)
		}
	})
}
