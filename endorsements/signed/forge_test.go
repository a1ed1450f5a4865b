// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package signed_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/veraison/corim/corim"
	"github.com/veraison/go-cose"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/endorsements/signed"
)

// forge signs with go-cose alone what Sign would not sign.
func forge(t testing.TB, payload []byte, key *ecdsa.PrivateKey, chain [][]byte) []byte {
	t.Helper()
	alg := cose.AlgorithmES384
	if key.Curve == elliptic.P256() {
		alg = cose.AlgorithmES256
	}
	signer, err := cose.NewSigner(alg, key)
	require.NoError(t, err)
	meta := corim.NewMeta().SetSigner(acme.Name, &acme.URI)
	metaCBOR, err := meta.ToCBOR()
	require.NoError(t, err)
	var x5chain any = chain
	if len(chain) == 1 {
		x5chain = chain[0]
	}
	data, err := cose.Sign1(rand.Reader, signer, cose.Headers{Protected: cose.ProtectedHeader{
		cose.HeaderLabelAlgorithm: alg, cose.HeaderLabelContentType: contentType, corim.HeaderLabelCorimMeta: metaCBOR, cose.HeaderLabelX5Chain: x5chain,
	}}, payload, nil)
	require.NoError(t, err)
	return data
}

const contentType = "application/rim+cbor"

// TestVeraisonReads: what Sign writes in DialectV1 is what Veraison v0.0.2501's
// own library reads and verifies.
func TestVeraisonReads(t *testing.T) {
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		t.Run(name, func(t *testing.T) {
			key := newKey(t, curve)
			data := sign(t, corimIn(t, endorsements.DialectV1), key, func(o *signed.Options) { o.NotBefore, o.NotAfter = now, now.AddDate(1, 0, 0) })
			var sc corim.SignedCorim
			require.NoError(t, sc.FromCOSE(data))
			require.NoError(t, sc.Meta.Valid())
			require.NoError(t, sc.Verify(key.Public()))
			require.Equal(t, "test", sc.UnsignedCorim.GetID())
			require.Equal(t, acme.Name, sc.Meta.Signer.Name)
			require.EqualValues(t, acme.URI, *sc.Meta.Signer.URI)
			require.True(t, now.Equal(*sc.Meta.Validity.NotBefore))
			require.True(t, now.AddDate(1, 0, 0).Equal(sc.Meta.Validity.NotAfter))
		})
	}
	key := newEd25519(t)
	var sc corim.SignedCorim
	require.NoError(t, sc.FromCOSE(sign(t, corimIn(t, endorsements.DialectV1), key, nil)))
	require.NoError(t, sc.Verify(key.Public()))
}

// TestReadsVeraison is the other way round.
func TestReadsVeraison(t *testing.T) {
	var uc corim.UnsignedCorim
	require.NoError(t, uc.FromCBOR(corimIn(t, endorsements.DialectV1)))
	until, from := now.AddDate(1, 0, 0), now.AddDate(-1, 0, 0)
	sc := corim.NewSignedCorim()
	sc.UnsignedCorim = uc
	require.NotNil(t, sc.Meta.SetSigner(acme.Name, &acme.URI).SetValidity(until, &from))
	key := newKey(t, elliptic.P256())
	signer, err := cose.NewSigner(cose.AlgorithmES256, key)
	require.NoError(t, err)
	data, err := sc.Sign(signer)
	require.NoError(t, err)
	v, err := signed.Verify(data, trusting(key))
	require.NoError(t, err)
	require.Equal(t, acme, v.Signer)
	require.True(t, from.Equal(v.NotBefore) && until.Equal(v.NotAfter))
	require.Equal(t, "test", v.Corim.ID)
}
