// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"crypto"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

func TestKeyAlgString(t *testing.T) {
	algs := tpmtest.KeyAlgs()
	require.Len(t, algs, 27)
	for _, alg := range algs {
		got, err := attester.ParseKeyAlg(alg.String())
		require.NoError(t, err)
		assert.Equal(t, alg, got)
	}
	assert.Equal(t, "ecdsa-p256-sha256", p256.String())
	assert.Equal(t, "rsapss-3072-sha384", attester.KeyAlg{Scheme: attester.RSAPSS, Bits: 3072, Hash: crypto.SHA384}.String())

	for _, s := range []string{
		"", "ecdsa", "ecdsa-p256", "ecdsa-256-sha256", "ecdsa-p256-sha1", "ecdsa-p256-", "ecdsa-pp256-sha256",
		"ecdsa-p0256-sha256", "ecdsa-p+256-sha256", "ecdsa-p2048-sha256", "ecdsa-p256-sha256-", "ecdsa-p256-sha256 ",
		"rsassa-p2048-sha256", "rsassa-1024-sha256", "rsapss-256-sha256", "ECDSA-P256-SHA256", "ed25519", "scheme0-0-hash0",
	} {
		_, err := attester.ParseKeyAlg(s)
		assert.ErrorContains(t, err, "want one such as", s)
	}
}

func TestKeyAlgRefused(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	for _, test := range []struct {
		alg  attester.KeyAlg
		want string
	}{
		{attester.KeyAlg{}, "no key algorithm given"},
		{attester.KeyAlg{Bits: 256, Hash: crypto.SHA256}, "not offered"},
		{attester.KeyAlg{Scheme: 4, Bits: 256, Hash: crypto.SHA256}, "not offered"},
		{attester.KeyAlg{Scheme: attester.ECDSA, Hash: crypto.SHA256}, "not offered"},
		{attester.KeyAlg{Scheme: attester.ECDSA, Bits: 224, Hash: crypto.SHA256}, "not offered"},
		{attester.KeyAlg{Scheme: attester.ECDSA, Bits: 2048, Hash: crypto.SHA256}, "not offered"},
		{attester.KeyAlg{Scheme: attester.RSASSA, Bits: 1024, Hash: crypto.SHA256}, "not offered"},
		{attester.KeyAlg{Scheme: attester.RSAPSS, Bits: 256, Hash: crypto.SHA256}, "not offered"},
		{attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256}, "not offered"},
		{attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA1}, "not offered"},
		{attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA3_256}, "not offered"},
	} {
		ak, err := tpm.CreateAK(t.Context(), test.alg)
		assert.ErrorContains(t, err, test.want)
		assert.Nil(t, ak)
		tik, err := tpm.CreateTIK(t.Context(), test.alg)
		assert.ErrorContains(t, err, test.want)
		assert.Nil(t, tik)
	}
}
