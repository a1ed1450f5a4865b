// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"math/big"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

var (
	p256 = attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256}

	nonce = []byte("0123456789abcdef0123456789abcdef")
)

// onEachTPM runs test with the simulator and with swtpm, and checks that it
// left nothing in the TPM.
func onEachTPM(t *testing.T, test func(*testing.T, *attester.TPM)) {
	t.Helper()
	for _, tpm := range []struct {
		name string
		open func(testing.TB) *attester.TPM
	}{
		{"simulator", tpmtest.Simulator},
		{"swtpm", tpmtest.SWTPM},
	} {
		t.Run(tpm.name, func(t *testing.T) {
			tpm := tpm.open(t)
			test(t, tpm)
			requireEmpty(t, tpm)
		})
	}
}

func requireEmpty(t *testing.T, tpm *attester.TPM) {
	t.Helper()
	handles, err := tpmtest.Handles(t.Context(), tpm)
	require.NoError(t, err)
	require.Empty(t, handles, "objects or sessions left in the TPM")
}

func createAK(t *testing.T, tpm *attester.TPM, alg attester.KeyAlg) *attester.AK {
	t.Helper()
	ak, err := tpm.CreateAK(t.Context(), alg)
	require.NoError(t, err)
	return ak
}

func createTIK(t *testing.T, tpm *attester.TPM, alg attester.KeyAlg) *attester.TIK {
	t.Helper()
	tik, err := tpm.CreateTIK(t.Context(), alg)
	require.NoError(t, err)
	return tik
}

func selection(t *testing.T, s string) attester.Selection {
	t.Helper()
	sel, err := attester.ParseSelection(s)
	require.NoError(t, err)
	return sel
}

// config is what the tests attest that are about something else.
func config(t *testing.T, tpm *attester.TPM) attester.AttestConfig {
	t.Helper()
	return attester.AttestConfig{
		AK:        createAK(t, tpm, p256),
		TIK:       createTIK(t, tpm, p256),
		Selection: selection(t, "sha256:0,1,7"),
	}
}

// verifyEvidence is the verifier's half of this project.
func verifyEvidence(evidence []byte, ak *attester.AK, nonce []byte) error {
	u, err := bundle.Parse(evidence)
	if err != nil {
		return err
	}
	_, err = u.Verify(ak.Public(), nonce)
	return err
}

// requireSignature verifies a TPMT_SIGNATURE with the standard library alone.
func requireSignature(t *testing.T, key crypto.PublicKey, alg attester.KeyAlg, signature, message []byte) {
	t.Helper()
	require.NoError(t, verify(key, alg, signature, message))
	altered := bytes.Clone(message)
	altered[len(altered)-1] ^= 1
	require.Error(t, verify(key, alg, signature, altered))
}

func verify(key crypto.PublicKey, alg attester.KeyAlg, signature, message []byte) error {
	sig, err := tpm2.Unmarshal[tpm2.TPMTSignature](signature)
	if err != nil {
		return err
	}
	if !bytes.Equal(tpm2.Marshal(sig), signature) {
		return errors.New("the signature has bytes left over")
	}
	h := alg.Hash.New()
	h.Write(message)
	digest := h.Sum(nil)
	hash, err := tpmtest.HashAlg(alg.Hash)
	if err != nil {
		return err
	}
	switch alg.Scheme {
	case attester.ECDSA:
		s, err := sig.Signature.ECDSA()
		if err != nil {
			return err
		}
		key := key.(*ecdsa.PublicKey)
		if key.Curve.Params().BitSize != alg.Bits || s.Hash != hash {
			return errors.New("another curve or hash")
		}
		if !ecdsa.Verify(key, digest, new(big.Int).SetBytes(s.SignatureR.Buffer), new(big.Int).SetBytes(s.SignatureS.Buffer)) {
			return errors.New("wrong ECDSA signature")
		}
		return nil
	case attester.RSASSA:
		s, err := sig.Signature.RSASSA()
		if err != nil {
			return err
		}
		key := key.(*rsa.PublicKey)
		if key.N.BitLen() != alg.Bits || s.Hash != hash {
			return errors.New("another size or hash")
		}
		return rsa.VerifyPKCS1v15(key, alg.Hash, digest, s.Sig.Buffer)
	default:
		s, err := sig.Signature.RSAPSS()
		if err != nil {
			return err
		}
		key := key.(*rsa.PublicKey)
		if key.N.BitLen() != alg.Bits || s.Hash != hash {
			return errors.New("another size or hash")
		}
		return rsa.VerifyPSS(key, alg.Hash, digest, s.Sig.Buffer, nil)
	}
}
