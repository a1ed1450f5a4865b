// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package rptest makes what a verifier is made of, for tests: EARs with
// whatever is wrong with them, and a scripted one to serve them.
package rptest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp/ear"
)

// Object is a JSON object.
type Object = map[string]any

// Key makes a P-256 key.
func Key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// Public is a key as a verifier's key.
func Public(t testing.TB, key *ecdsa.PrivateKey) ear.Key {
	t.Helper()
	public, err := ear.NewKey(&key.PublicKey)
	require.NoError(t, err)
	return public
}

// Claims are those of a result that affirms, as Veraison v0.0.2501 makes it.
func Claims(nonce []byte) Object {
	return Object{
		"eat_profile":     "tag:github.com,2023:veraison/ear",
		"eat_nonce":       base64.URLEncoding.EncodeToString(nonce),
		"iat":             time.Now().Unix(),
		"ear.verifier-id": Object{"developer": "Veraison Project", "build": "v0.0.2501"},
		"submods":         Object{"PARSEC_TPM": Submod()},
	}
}

// Submod is an appraisal that affirms.
func Submod() Object {
	return Object{
		"ear.status":                 "affirming",
		"ear.trustworthiness-vector": Object{"instance-identity": 2, "executables": 2, "hardware": 2, "storage-opaque": 2},
		"ear.appraisal-policy-id":    "policy:PARSEC_TPM",
	}
}

// With returns claims with some of them replaced; nil removes one.
func With(claims, changes Object) Object {
	claims = maps.Clone(claims)
	for name, v := range changes {
		if v == nil {
			delete(claims, name)
			continue
		}
		claims[name] = v
	}
	return claims
}

// WithSubmod returns claims with some of the submodule's replaced.
func WithSubmod(claims, changes Object) Object {
	submod := claims["submods"].(Object)["PARSEC_TPM"].(Object)
	return With(claims, Object{"submods": Object{"PARSEC_TPM": With(submod, changes)}})
}

// Sign makes a token with the header that a verifier would give it.
func Sign(t testing.TB, key crypto.Signer, claims Object) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	return SignRaw(t, key, `{"alg":"ES256","typ":"JWT"}`, payload)
}

// SignRaw makes a token of any header and payload, signed with ES256 or EdDSA
// or, with an RSA key, PS256.
func SignRaw(t testing.TB, key crypto.Signer, header string, payload []byte) string {
	t.Helper()
	enc := base64.RawURLEncoding.EncodeToString
	input := enc([]byte(header)) + "." + enc(payload)
	var sig []byte
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		hash := map[int]crypto.Hash{256: crypto.SHA256, 384: crypto.SHA384, 521: crypto.SHA512}[key.Curve.Params().BitSize]
		h := hash.New()
		h.Write([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, key, h.Sum(nil))
		require.NoError(t, err)
		size := (key.Curve.Params().BitSize + 7) / 8
		sig = make([]byte, 2*size)
		r.FillBytes(sig[:size])
		s.FillBytes(sig[size:])
	case *rsa.PrivateKey:
		h := crypto.SHA256.New()
		h.Write([]byte(input))
		var err error
		sig, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, h.Sum(nil), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		require.NoError(t, err)
	case ed25519.PrivateKey:
		sig = ed25519.Sign(key, []byte(input))
	default:
		require.Fail(t, "unexpected key")
	}
	return input + "." + enc(sig)
}
