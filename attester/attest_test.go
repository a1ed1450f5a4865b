// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"bytes"
	"crypto"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/tpmtest"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

// TestEveryAlgorithm makes an AK and a TIK of each algorithm and verifies what
// the AK signs. An algorithm that the TPM lacks must be said to be lacking.
func TestEveryAlgorithm(t *testing.T) {
	// What these TPMs lack. A newer one that has it makes the test fail, which
	// is worth knowing.
	lacks := map[string][]int{
		"simulator": {3072, 4096},
		"swtpm":     {4096},
	}
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		name := t.Name()[len("TestEveryAlgorithm/"):]
		sel := selection(t, "sha256:0,1,16+sha384:16")
		extend(t, tpm)
		values, err := tpm.ReadPCRs(t.Context(), sel)
		require.NoError(t, err)
		var tik *attester.TIK
		for _, alg := range tpmtest.KeyAlgs() {
			ak, err := tpm.CreateAK(t.Context(), alg)
			if slices.Contains(lacks[name], alg.Bits) {
				require.ErrorIs(t, err, attester.ErrUnsupportedAlgorithm, alg)
				require.ErrorContains(t, err, alg.String())
				_, err = tpm.CreateTIK(t.Context(), alg)
				require.ErrorIs(t, err, attester.ErrUnsupportedAlgorithm, alg)
				continue
			}
			require.NoError(t, err, alg)
			if alg.Scheme == attester.ECDSA || alg.Hash == crypto.SHA256 {
				tik = createTIK(t, tpm, alg) // not for all: RSA keys take a TPM long
			}

			evidence, err := tpm.Attest(t.Context(), attester.AttestConfig{AK: ak, TIK: tik, Selection: sel}, nonce)
			require.NoError(t, err, alg)
			k, p, err := bundle.Decode(evidence)
			require.NoError(t, err)
			requireKAT(t, ak, tik, alg, k)
			requirePAT(t, ak, alg, sel, values, p)

			// The verifier's half of this project agrees.
			require.NoError(t, verifyEvidence(evidence, ak, nonce), alg)
		}
	})
}

func requireKAT(t *testing.T, ak *attester.AK, tik *attester.TIK, alg attester.KeyAlg, k kat.Token) {
	t.Helper()
	assert.Equal(t, "2.0", k.TPMVer)
	assert.Equal(t, ak.KID(), k.KID)
	assert.Equal(t, tik.PubArea(), k.PubArea)
	requireSignature(t, ak.Public(), alg, k.Sig, k.CertInfo)

	attest := requireAttest(t, k.CertInfo)
	certify, err := attest.Attested.Certify()
	require.NoError(t, err)
	h := crypto.SHA256.New()
	h.Write(k.PubArea)
	assert.Equal(t, h.Sum([]byte{0x00, 0x0b}), certify.Name.Buffer, "the certified name is not pubArea's")
}

func requirePAT(t *testing.T, ak *attester.AK, alg attester.KeyAlg, sel attester.Selection, values map[crypto.Hash]map[int][]byte, p pat.Token) {
	t.Helper()
	assert.Equal(t, "2.0", p.TPMVer)
	assert.Equal(t, ak.KID(), p.KID)
	requireSignature(t, ak.Public(), alg, p.Sig, p.AttestInfo)

	attest := requireAttest(t, p.AttestInfo)
	quote, err := attest.Attested.Quote()
	require.NoError(t, err)
	assert.Equal(t, tpmtest.PCRDigest(alg.Hash, sel, values), quote.PCRDigest.Buffer)
	require.Len(t, quote.PCRSelect.PCRSelections, len(sel))
	for i, bank := range sel {
		hash, err := tpmtest.HashAlg(bank.Bank)
		require.NoError(t, err)
		assert.Equal(t, hash, quote.PCRSelect.PCRSelections[i].Hash)
	}
}

func requireAttest(t *testing.T, b []byte) *tpm2.TPMSAttest {
	t.Helper()
	attest, err := tpm2.Unmarshal[tpm2.TPMSAttest](b)
	require.NoError(t, err)
	require.Equal(t, b, tpm2.Marshal(attest), "the attestation has bytes left over")
	assert.Equal(t, tpm2.TPMGeneratedValue, attest.Magic)
	assert.Equal(t, nonce, attest.ExtraData.Buffer)
	return attest
}

// extend makes PCR 16, the one for debugging, differ from bank to bank.
func extend(t *testing.T, tpm *attester.TPM) {
	t.Helper()
	for i, bank := range []crypto.Hash{crypto.SHA256, crypto.SHA384} {
		digest := bytes.Repeat([]byte{byte(i + 1)}, bank.Size())
		require.NoError(t, tpmtest.ExtendPCR(t.Context(), tpm, bank, 16, digest))
	}
}

func TestMultiBankQuote(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		extend(t, tpm)
		for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			alg := attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: hash}
			ak := createAK(t, tpm, alg)
			var digests [][]byte
			for _, s := range []string{
				"sha256:16",
				"sha384:16",
				"sha256:16+sha384:16",
				"sha384:16+sha256:16",
				"sha256:all+sha384:0,16,23",
				"sha384:all+sha256:all",
			} {
				sel := selection(t, s)
				values, err := tpm.ReadPCRs(t.Context(), sel)
				require.NoError(t, err)
				p, err := tpm.Quote(t.Context(), ak.Key(), sel, nonce)
				require.NoError(t, err)
				requirePAT(t, ak, alg, sel, values, p)
				digest := tpmtest.PCRDigest(hash, sel, values)
				assert.False(t, slices.ContainsFunc(digests, func(d []byte) bool { return bytes.Equal(d, digest) }),
					"%s has the digest of another selection", s)
				digests = append(digests, digest)
			}
		}
	})
}

// TestPCROrder: the order in which PCRs of a bank are given has no meaning.
func TestPCROrder(t *testing.T) {
	tpm := tpmtest.Simulator(t)
	extend(t, tpm)
	ak := createAK(t, tpm, p256)
	given := attester.Selection{{Bank: crypto.SHA256, PCRs: []int{16, 0, 7}}}
	p, err := tpm.Quote(t.Context(), ak.Key(), given, nonce)
	require.NoError(t, err)
	values, err := tpm.ReadPCRs(t.Context(), given)
	require.NoError(t, err)
	requirePAT(t, ak, p256, selection(t, "sha256:0,7,16"), values, p)
}

func TestNonceSize(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		cfg := config(t, tpm)
		for _, size := range []int{8, 32, 64} {
			nonce := bytes.Repeat([]byte{7}, size)
			evidence, err := tpm.Attest(t.Context(), cfg, nonce)
			require.NoError(t, err)
			require.NoError(t, verifyEvidence(evidence, cfg.AK, nonce))
		}
		for _, size := range []int{0, 1, 7, 65, 66, 1000} {
			nonce := make([]byte, size)
			evidence, err := tpm.Attest(t.Context(), cfg, nonce)
			assert.ErrorContains(t, err, "want 8 to 64")
			assert.Nil(t, evidence)
			k, err := tpm.Certify(t.Context(), cfg.AK.Key(), cfg.TIK.Key(), nonce)
			assert.ErrorContains(t, err, "want 8 to 64")
			assert.Zero(t, k)
			p, err := tpm.Quote(t.Context(), cfg.AK.Key(), cfg.Selection, nonce)
			assert.ErrorContains(t, err, "want 8 to 64")
			assert.Zero(t, p)
		}
	})
}

func TestBadSelection(t *testing.T) {
	onEachTPM(t, func(t *testing.T, tpm *attester.TPM) {
		cfg := config(t, tpm)
		for _, test := range []struct {
			sel  attester.Selection
			want string
		}{
			{nil, "no PCR is selected"},
			{attester.Selection{}, "no PCR is selected"},
			{attester.Selection{{Bank: crypto.SHA256}}, "no PCR of bank sha256"},
			{attester.Selection{{PCRs: []int{0}}}, "not known"},
			{attester.Selection{{Bank: crypto.SHA1, PCRs: []int{0}}}, "the sha1 bank is not attested"},
			{attester.Selection{{Bank: crypto.SHA3_256, PCRs: []int{0}}}, "not known"},
			{attester.Selection{{Bank: crypto.SHA256, PCRs: []int{-1}}}, "want 0 to 23"},
			{attester.Selection{{Bank: crypto.SHA256, PCRs: []int{24}}}, "want 0 to 23"},
			{attester.Selection{{Bank: crypto.SHA256, PCRs: []int{1, 1}}}, "there twice"},
			{attester.Selection{{Bank: crypto.SHA256, PCRs: []int{1}}, {Bank: crypto.SHA256, PCRs: []int{2}}}, "there twice"},
		} {
			cfg.Selection = test.sel
			evidence, err := tpm.Attest(t.Context(), cfg, nonce)
			assert.ErrorContains(t, err, test.want)
			assert.Nil(t, evidence)
			p, err := tpm.Quote(t.Context(), cfg.AK.Key(), test.sel, nonce)
			assert.ErrorContains(t, err, test.want)
			assert.Zero(t, p)
			values, err := tpm.ReadPCRs(t.Context(), test.sel)
			assert.ErrorContains(t, err, test.want)
			assert.Nil(t, values)
		}
	})
}

func TestForeignAndMissingKeys(t *testing.T) {
	tpm, other := tpmtest.Simulator(t), tpmtest.SWTPM(t)
	cfg, foreign := config(t, tpm), config(t, other)
	for _, test := range []struct {
		cfg  attester.AttestConfig
		want string
	}{
		{attester.AttestConfig{}, "no key given"},
		{attester.AttestConfig{AK: cfg.AK, Selection: cfg.Selection}, "no key given"},
		{attester.AttestConfig{TIK: cfg.TIK, Selection: cfg.Selection}, "no key given"},
		{attester.AttestConfig{AK: cfg.AK, TIK: cfg.TIK}, "no PCR is selected"},
		{attester.AttestConfig{AK: foreign.AK, TIK: cfg.TIK, Selection: cfg.Selection}, "of another TPM"},
		{attester.AttestConfig{AK: cfg.AK, TIK: foreign.TIK, Selection: cfg.Selection}, "of another TPM"},
	} {
		evidence, err := tpm.Attest(t.Context(), test.cfg, nonce)
		assert.ErrorContains(t, err, test.want)
		assert.Nil(t, evidence)
	}
	_, err := tpm.Certify(t.Context(), cfg.AK.Key(), nil, nonce)
	assert.ErrorContains(t, err, "no key given")
	_, err = tpm.Quote(t.Context(), foreign.AK.Key(), cfg.Selection, nonce)
	assert.ErrorContains(t, err, "of another TPM")
	_, err = tpm.CreateKey(t.Context(), foreign.AK.Key(), tpm2.TPMTPublic{})
	assert.ErrorContains(t, err, "of another TPM")
	_, err = tpm.LoadKey(t.Context(), foreign.AK.Key(), cfg.AK.Key().PubArea(), nil)
	assert.ErrorContains(t, err, "of another TPM")

	// And the blob of another TPM's key is worth nothing here.
	_, err = tpm.LoadKey(t.Context(), nil, foreign.AK.Key().PubArea(), foreign.AK.Key().PrivateBlob())
	var rc tpm2.TPMRC
	assert.True(t, errors.As(err, &rc), "%v", err)
}
