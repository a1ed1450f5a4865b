// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"crypto"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// TestAttester: what it makes is accepted by the verifier's half, as a CMW and
// without.
func TestAttester(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		extend(t, tpm)
		cfg := config(t, tpm)
		cfg.Selection = selection(t, "sha256:0,7,16+sha384:16")
		known := endorse(t, tpm, cfg.AK, cfg.Selection)
		a, err := attester.NewAttester(t.Context(), cfg)
		require.NoError(t, err)
		cfg.Selection[0].PCRs[0] = 5 // it has a copy
		cmw, err := a.Attest(t.Context(), nonce)
		require.NoError(t, err)
		unwrapped, err := bundle.Unwrap(cmw)
		require.NoError(t, err)
		plain, err := a.Bundle(t.Context(), nonce)
		require.NoError(t, err)
		for _, evidence := range [][]byte{unwrapped, plain} {
			result, err := appraisal.Appraise(evidence, nonce, known)
			require.NoError(t, err)
			assert.Equal(t, "affirming", strings.ToLower(result.Status().String()), "%v", result.Problems)
		}
		assert.Equal(t, cfg.TIK.Public(), a.Signer().Public())
		assert.Same(t, cfg.AK, a.AK())
		assert.Same(t, cfg.TIK, a.TIK())
		cmw, err = a.Attest(t.Context(), nil)
		assert.ErrorContains(t, err, "want 8 to 64")
		assert.Nil(t, cmw)
	})
}

// TestAttesterRefused: what could not work fails at the start.
func TestAttesterRefused(t *testing.T) {
	p := tpmtest.StartSWTPM(t)
	tpm := p.Open(t)
	require.NoError(t, tpmtest.AllocateBanks(t.Context(), tpm, crypto.SHA256))
	require.NoError(t, tpm.Close())
	require.NoError(t, p.Stop())
	require.NoError(t, p.Start())
	tpm, other := p.Open(t), tpmtest.Simulator(t)
	good, foreign := config(t, tpm), config(t, other)
	_, err := attester.NewAttester(t.Context(), good)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		change func(*attester.AttestConfig)
		want   string
	}{
		"no AK":            {func(c *attester.AttestConfig) { c.AK = nil }, "no key given"},
		"no TIK":           {func(c *attester.AttestConfig) { c.TIK = nil }, "no key given"},
		"no PCRs":          {func(c *attester.AttestConfig) { c.Selection = nil }, "no PCR is selected"},
		"SHA-1":            {func(c *attester.AttestConfig) { c.Selection[0].Bank = crypto.SHA1 }, "the sha1 bank is not attested"},
		"a bank it lacks":  {func(c *attester.AttestConfig) { c.Selection = selection(t, "sha384:0") }, "the TPM lacks PCRs"},
		"two TPMs":         {func(c *attester.AttestConfig) { c.TIK = foreign.TIK }, "of another TPM"},
		"hash of TLS 1.2":  {func(c *attester.AttestConfig) { c.TIK = createTIK(t, tpm, keyAlg(t, "ecdsa-p384-sha256")) }, "for TLS 1.3: it signs [ECDSAWithP256AndSHA256] only"},
		"PKCS #1 v1.5":     {func(c *attester.AttestConfig) { c.TIK = createTIK(t, tpm, keyAlg(t, "rsassa-2048-sha256")) }, "for TLS 1.3: it signs [PKCS1WithSHA256] only"},
		"all of them zero": {func(c *attester.AttestConfig) { *c = attester.AttestConfig{} }, "no key given"},
	} {
		cfg := good
		cfg.Selection = selection(t, good.Selection.String())
		test.change(&cfg)
		a, err := attester.NewAttester(t.Context(), cfg)
		assert.ErrorContains(t, err, test.want, name)
		assert.Nil(t, a, name)
	}
}

// TestAnyRSAScheme: an AK has one scheme, and an algorithm is what it says.
func TestAnyRSAScheme(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	_, err := tpm.CreateAK(t.Context(), keyAlg(t, "rsa-2048"))
	require.ErrorContains(t, err, "an attestation key needs a scheme")
	_, err = tpm.CreateTIK(t.Context(), attester.KeyAlg{Scheme: attester.RSA, Bits: 2048, Hash: crypto.SHA256})
	require.ErrorContains(t, err, "is not offered")
	_, err = attester.ParseKeyAlg("rsa-2048-sha256")
	require.Error(t, err)
}

// TestNotAKScheme: a restricted key whose signatures no verifier accepts.
func TestNotAKScheme(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		template, err := keyAlg(t, "rsassa-2048-sha256").Template()
		require.NoError(t, err)
		template.ObjectAttributes.Restricted = true
		parameters, err := template.Parameters.RSADetail()
		require.NoError(t, err)
		parameters.Scheme.Details = tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA1})
		k, err := tpm.CreateKey(t.Context(), nil, template)
		require.NoError(t, err)
		_, err = k.AK(t.Context())
		require.ErrorIs(t, err, attester.ErrNotAK)
		require.ErrorContains(t, err, "sha1")

		// And a TIK that TLS has no use for.
		template.ObjectAttributes.Restricted = false
		k, err = tpm.CreateKey(t.Context(), nil, template)
		require.NoError(t, err)
		_, err = k.TIK(t.Context())
		require.ErrorIs(t, err, attester.ErrNotTIK)
		require.ErrorContains(t, err, "its scheme is rsassa-sha1")
	})
}

// TestDoKeepsTurn: Do finds the TPM without the keys that stay there.
func TestDoKeepsTurn(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	cfg := config(t, tpm)
	_, err := tpm.Attest(t.Context(), cfg, nonce)
	require.NoError(t, err)
	require.NoError(t, tpm.Do(t.Context(), func(raw transport.TPM, keys []tpm2.AuthHandle) error {
		rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: uint32(tpm2.TPMHTTransient) << 24, PropertyCount: 16}.Execute(raw)
		require.NoError(t, err)
		list, err := rsp.CapabilityData.Data.Handles()
		require.NoError(t, err)
		require.Equal(t, []tpm2.TPMHandle{keys[0].Handle}, list.Handle)
		return nil
	}, cfg.TIK.Key()))
}
