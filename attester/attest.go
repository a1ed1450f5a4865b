// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

// Sizes of a nonce, in bytes: those of Veraison's challenge-response API. 64
// bytes are also what every TPM with SHA-512 takes as qualifying data (Part 2,
// section 10.4.3).
const (
	minNonceSize = 8
	maxNonceSize = 64
)

// tpmVersion is the tokens' tpmVer.
const tpmVersion = "2.0"

// AttestConfig says what is attested, and by which key. All of it is needed.
type AttestConfig struct {
	AK        *AK
	TIK       *TIK
	Selection Selection
}

// Attest makes evidence for nonce: a bundle (package bundle) with a
// certification of the TIK and a quote of the selected PCRs, both signed by the
// AK. nonce has 8 to 64 bytes.
func (t *TPM) Attest(ctx context.Context, cfg AttestConfig, nonce []byte) ([]byte, error) {
	ak, tik := cfg.AK.Key(), cfg.TIK.Key()
	if err := t.own(ak, tik); err != nil {
		return nil, fmt.Errorf("attesting: %w", err)
	}
	if err := checkNonce(nonce); err != nil {
		return nil, fmt.Errorf("attesting: %w", err)
	}
	selection, err := cfg.Selection.marshal()
	if err != nil {
		return nil, fmt.Errorf("attesting: %w", err)
	}
	nonce = slices.Clone(nonce) // the operation may outlive this call
	evidence, err := run(ctx, t, func(o *operation) ([]byte, error) {
		signer, err := o.load(ak)
		if err != nil {
			return nil, fmt.Errorf("loading the AK: %w", err)
		}
		subject, err := o.load(tik)
		if err != nil {
			return nil, fmt.Errorf("loading the TIK: %w", err)
		}
		k, err := o.certify(ak, signer, tik, subject, nonce)
		if err != nil {
			return nil, err
		}
		p, err := o.quote(ak, signer, selection, nonce)
		if err != nil {
			return nil, err
		}
		return bundle.Encode(k, p)
	})
	if err != nil {
		return nil, fmt.Errorf("attesting: %w", err)
	}
	return evidence, nil
}

// Certify has signer certify that subject is in the TPM. nonce has 8 to 64
// bytes. Whether signer is an AK and subject a TIK is not asked: see [TPM.Attest].
func (t *TPM) Certify(ctx context.Context, signer, subject *Key, nonce []byte) (kat.Token, error) {
	if err := t.own(signer, subject); err != nil {
		return kat.Token{}, fmt.Errorf("certifying: %w", err)
	}
	if err := checkNonce(nonce); err != nil {
		return kat.Token{}, fmt.Errorf("certifying: %w", err)
	}
	nonce = slices.Clone(nonce)
	k, err := run(ctx, t, func(o *operation) (kat.Token, error) {
		s, err := o.load(signer)
		if err != nil {
			return kat.Token{}, fmt.Errorf("loading the signer: %w", err)
		}
		c, err := o.load(subject)
		if err != nil {
			return kat.Token{}, fmt.Errorf("loading the certified key: %w", err)
		}
		return o.certify(signer, s, subject, c, nonce)
	})
	if err != nil {
		return kat.Token{}, fmt.Errorf("certifying: %w", err)
	}
	return k, nil
}

// Quote has signer quote the selected PCRs. nonce has 8 to 64 bytes. Whether
// signer is an AK is not asked: see [TPM.Attest].
func (t *TPM) Quote(ctx context.Context, signer *Key, sel Selection, nonce []byte) (pat.Token, error) {
	if err := t.own(signer); err != nil {
		return pat.Token{}, fmt.Errorf("quoting: %w", err)
	}
	if err := checkNonce(nonce); err != nil {
		return pat.Token{}, fmt.Errorf("quoting: %w", err)
	}
	selection, err := sel.marshal()
	if err != nil {
		return pat.Token{}, fmt.Errorf("quoting: %w", err)
	}
	nonce = slices.Clone(nonce)
	p, err := run(ctx, t, func(o *operation) (pat.Token, error) {
		s, err := o.load(signer)
		if err != nil {
			return pat.Token{}, fmt.Errorf("loading the signer: %w", err)
		}
		return o.quote(signer, s, selection, nonce)
	})
	if err != nil {
		return pat.Token{}, fmt.Errorf("quoting: %w", err)
	}
	return p, nil
}

func checkNonce(nonce []byte) error {
	if n := len(nonce); n < minNonceSize || n > maxNonceSize {
		return fmt.Errorf("the nonce has %d bytes, want %d to %d", n, minNonceSize, maxNonceSize)
	}
	return nil
}

// certify is TPM2_Certify (Part 3). The scheme is the signer's own.
func (o *operation) certify(signer *Key, s tpm2.AuthHandle, subject *Key, c tpm2.AuthHandle, nonce []byte) (kat.Token, error) {
	rsp, err := tpm2.Certify{
		ObjectHandle:   c,
		SignHandle:     s,
		QualifyingData: tpm2.TPM2BData{Buffer: nonce},
	}.Execute(o)
	if err != nil {
		return kat.Token{}, fmt.Errorf("TPM2_Certify: %w", err)
	}
	return kat.Token{
		TPMVer:   tpmVersion,
		KID:      signer.KID(),
		Sig:      tpm2.Marshal(rsp.Signature),
		CertInfo: rsp.CertifyInfo.Bytes(),
		PubArea:  subject.PubArea(),
	}, nil
}

// quote is TPM2_Quote (Part 3). The scheme is the signer's own.
func (o *operation) quote(signer *Key, s tpm2.AuthHandle, want tpm2.TPMLPCRSelection, nonce []byte) (pat.Token, error) {
	rsp, err := tpm2.Quote{
		SignHandle:     s,
		QualifyingData: tpm2.TPM2BData{Buffer: nonce},
		PCRSelect:      want,
	}.Execute(o)
	if err != nil {
		return pat.Token{}, fmt.Errorf("TPM2_Quote: %w", o.explainBanks(err, want))
	}
	attest, err := rsp.Quoted.Contents()
	if err != nil {
		return pat.Token{}, fmt.Errorf("TPM2_Quote: reading what was signed: %w", err)
	}
	quote, err := attest.Attested.Quote()
	if err != nil {
		return pat.Token{}, fmt.Errorf("TPM2_Quote: reading what was signed: %w", err)
	}
	// A TPM leaves out PCRs that it does not have and signs the rest.
	if !sameSelection(quote.PCRSelect, want) {
		return pat.Token{}, fmt.Errorf("TPM2_Quote: %w", o.wrongSelection(quote.PCRSelect, want))
	}
	return pat.Token{
		TPMVer:     tpmVersion,
		KID:        signer.KID(),
		Sig:        tpm2.Marshal(rsp.Signature),
		AttestInfo: rsp.Quoted.Bytes(),
	}, nil
}
