// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp_test

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp/internal/rptest"
)

// hs256 makes a token with the public key as the secret.
func hs256(t testing.TB, key *ecdsa.PrivateKey, nonce []byte) string {
	t.Helper()
	secret, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	payload, err := json.Marshal(rptest.Claims(nonce))
	require.NoError(t, err)
	enc := base64.RawURLEncoding.EncodeToString
	input := enc([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc(payload)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + enc(mac.Sum(nil))
}
