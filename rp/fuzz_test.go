// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/internal/rptest"
)

// What answers may be anybody who got into the verifier's place.
func FuzzSession(f *testing.F) {
	v, err := rp.NewVeraison("https://verifier.example/below", ear.Pin(rptest.Public(f, rptest.Key(f))), rp.Config{})
	require.NoError(f, err)
	f.Add("session/1", []byte(`{"nonce":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","accept":["a/b"],"expiry":"2999-01-01T00:00:00Z","status":"waiting"}`), []byte(nil))
	f.Add("https://verifier.example:443/x", []byte(`{"nonce":"AAAAAAAAAAA"}`), make([]byte, 8))
	f.Add("//evil.example", []byte(`{"result":"x","status":"complete"}`), []byte{})
	f.Fuzz(func(t *testing.T, location string, body, nonce []byte) {
		got, err := v.ReadSession(location, body, nonce)
		if err == nil {
			if nonce == nil {
				require.Len(t, got, rp.NonceSize)
			} else {
				require.True(t, bytes.Equal(nonce, got))
			}
		}
		if token, err := rp.ReadResult(body); err != nil {
			require.Empty(t, token)
		}
		if key, err := rp.ReadWellKnown(body); err == nil {
			require.NotNil(t, key.Public())
		}
	})
}
