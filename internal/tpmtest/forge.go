// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmtest

import (
	"context"
	"crypto"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/veraison/attested-tls/attester"
)

// UnrestrictedKey is a key in a TPM that signs whatever it is given, as no AK
// does. Provisioned as an AK it shows what a verifier makes of statements that
// no TPM would make.
type UnrestrictedKey struct {
	*attester.Key
	tpm  *attester.TPM
	hash crypto.Hash
}

// NewUnrestrictedKey makes one.
func NewUnrestrictedKey(ctx context.Context, t *attester.TPM, alg attester.KeyAlg) (*UnrestrictedKey, error) {
	template, err := alg.Template()
	if err != nil {
		return nil, err
	}
	k, err := t.CreateKey(ctx, nil, template)
	if err != nil {
		return nil, err
	}
	return &UnrestrictedKey{Key: k, tpm: t, hash: alg.Hash}, nil
}

// SignDigest signs a digest, which has the size of the key's hash. It returns
// the TPMT_SIGNATURE (Part 3, TPM2_Sign).
func (k *UnrestrictedKey) SignDigest(ctx context.Context, digest []byte) ([]byte, error) {
	var signature []byte
	err := k.tpm.Do(ctx, func(tpm transport.TPM, keys []tpm2.AuthHandle) error {
		rsp, err := tpm2.Sign{
			KeyHandle:  keys[0],
			Digest:     tpm2.TPM2BDigest{Buffer: digest},
			Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck},
		}.Execute(tpm)
		if err != nil {
			return fmt.Errorf("TPM2_Sign: %w", err)
		}
		signature = tpm2.Marshal(rsp.Signature)
		return nil
	}, k.Key)
	return signature, err
}

// Sign signs a message, such as a TPMS_ATTEST. It returns the TPMT_SIGNATURE.
func (k *UnrestrictedKey) Sign(ctx context.Context, message []byte) ([]byte, error) {
	h := k.hash.New()
	h.Write(message)
	return k.SignDigest(ctx, h.Sum(nil))
}

// CertifyInfo is the TPMS_ATTEST of TPM2_Certify that would certify the key
// with the given public area.
func CertifyInfo(pubArea, nonce []byte) (tpm2.TPMSAttest, error) {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](pubArea)
	if err != nil {
		return tpm2.TPMSAttest{}, err
	}
	name, err := tpm2.ObjectName(public)
	if err != nil {
		return tpm2.TPMSAttest{}, err
	}
	return attest(nonce, tpm2.TPMSTAttestCertify, tpm2.NewTPMUAttest(tpm2.TPMSTAttestCertify,
		&tpm2.TPMSCertifyInfo{Name: *name, QualifiedName: *name})), nil
}

// QuoteInfo is the TPMS_ATTEST of TPM2_Quote over any selection with any
// digest.
func QuoteInfo(sel []tpm2.TPMSPCRSelection, digest, nonce []byte) tpm2.TPMSAttest {
	return attest(nonce, tpm2.TPMSTAttestQuote, tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote,
		&tpm2.TPMSQuoteInfo{
			PCRSelect: tpm2.TPMLPCRSelection{PCRSelections: sel},
			PCRDigest: tpm2.TPM2BDigest{Buffer: digest},
		}))
}

func attest(nonce []byte, typ tpm2.TPMST, attested tpm2.TPMUAttest) tpm2.TPMSAttest {
	return tpm2.TPMSAttest{
		Magic:           tpm2.TPMGeneratedValue,
		Type:            typ,
		QualifiedSigner: tpm2.TPM2BName{Buffer: make([]byte, 34)},
		ExtraData:       tpm2.TPM2BData{Buffer: nonce},
		ClockInfo:       tpm2.TPMSClockInfo{Clock: 1, ResetCount: 1, RestartCount: 1, Safe: true},
		FirmwareVersion: 1,
		Attested:        attested,
	}
}

// WithAttributes is a public area with other attributes. No TPM has that key.
func WithAttributes(pubArea []byte, change func(*tpm2.TPMAObject)) ([]byte, error) {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](pubArea)
	if err != nil {
		return nil, err
	}
	change(&public.ObjectAttributes)
	return tpm2.Marshal(public), nil
}
