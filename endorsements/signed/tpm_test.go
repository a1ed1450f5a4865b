// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package signed_test

import (
	"crypto"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/endorsements/signed"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// A TPM signs nothing of which it does not know the hash.
func TestSignWithTPM(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	ak, err := tpm.CreateAK(t.Context(), attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256})
	require.NoError(t, err)
	anchor, err := endorsements.NewTrustAnchor("5c57e8f4-46cd-421b-91c9-08cf93e13cfc", ak.KID(), ak.PEM())
	require.NoError(t, err)
	corim, err := (&endorsements.Corim{ID: "x", Anchors: []endorsements.TrustAnchor{anchor}}).Encode(endorsements.DialectV2)
	require.NoError(t, err)
	for _, alg := range []attester.KeyAlg{
		{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256},
		{Scheme: attester.ECDSA, Bits: 384, Hash: crypto.SHA384},
	} {
		t.Run(alg.String(), func(t *testing.T) {
			key, err := tpm.CreateTIK(t.Context(), alg)
			require.NoError(t, err)
			data, err := signed.Sign(corim, key.Signer(), signed.Options{Signer: endorsements.Signer{Name: "a TPM"}})
			require.NoError(t, err)
			v, err := signed.Verify(data, signed.Policy{Keys: []crypto.PublicKey{key.Public()}})
			require.NoError(t, err)
			require.Equal(t, corim, v.Payload)
		})
	}
}
