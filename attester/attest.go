// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/tpmwire"
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

// AttestConfig says what is attested, and by which key. All of it is needed;
// the keys are of one TPM.
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
		return using(o, func(h []tpm2.AuthHandle) ([]byte, error) {
			k, err := o.certify(ak, h[0], tik, h[1], nonce)
			if err != nil {
				return nil, err
			}
			p, err := o.quote(ak, h[0], selection, nonce)
			if err != nil {
				return nil, err
			}
			return bundle.Encode(k, p)
		}, need{"the AK", ak}, need{"the TIK", tik})
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
		return using(o, func(h []tpm2.AuthHandle) (kat.Token, error) {
			return o.certify(signer, h[0], subject, h[1], nonce)
		}, need{"the signer", signer}, need{"the certified key", subject})
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
		return using(o, func(h []tpm2.AuthHandle) (pat.Token, error) {
			return o.quote(signer, h[0], selection, nonce)
		}, need{"the signer", signer})
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
	info, sig, err := o.attestation(tpm2.TPMCCCertify, appendNonce(nil, nonce), c.Handle, s.Handle)
	if err != nil {
		return kat.Token{}, fmt.Errorf("TPM2_Certify: %w", err)
	}
	attest, err := signedBy(signer, info, tpm2.TPMSTAttestCertify)
	if err != nil {
		return kat.Token{}, fmt.Errorf("TPM2_Certify: %w", err)
	}
	if !bytes.Equal(attest.CertifiedName, subject.name.Buffer) {
		return kat.Token{}, fmt.Errorf("TPM2_Certify: %w", errReplaced)
	}
	return kat.Token{
		TPMVer:   tpmVersion,
		KID:      signer.KID(),
		Sig:      sig,
		CertInfo: info,
		PubArea:  subject.PubArea(),
	}, nil
}

// quote is TPM2_Quote (Part 3). The scheme is the signer's own.
func (o *operation) quote(signer *Key, s tpm2.AuthHandle, want tpm2.TPMLPCRSelection, nonce []byte) (pat.Token, error) {
	parameters := appendSelection(appendNonce(nil, nonce), want)
	info, sig, err := o.attestation(tpm2.TPMCCQuote, parameters, s.Handle)
	if err != nil {
		return pat.Token{}, fmt.Errorf("TPM2_Quote: %w", o.explainBanks(err, want))
	}
	attest, err := signedBy(signer, info, tpm2.TPMSTAttestQuote)
	if err != nil {
		return pat.Token{}, fmt.Errorf("TPM2_Quote: %w", err)
	}
	// A TPM leaves out PCRs that it does not have and signs the rest.
	if got := attest.Selection; !sameSelection(got, want) {
		return pat.Token{}, fmt.Errorf("TPM2_Quote: %w", o.wrongSelection(listed(got), want))
	}
	return pat.Token{
		TPMVer:     tpmVersion,
		KID:        signer.KID(),
		Sig:        sig,
		AttestInfo: info,
	}, nil
}

// signedBy decodes an attestation and checks that signer signed it (Part 2,
// section 10.12.12: qualifiedSigner), not what took its place in the TPM.
func signedBy(signer *Key, b []byte, typ tpm2.TPMST) (tpmwire.Attest, error) {
	attest, err := tpmwire.ParseAttest(b, typ)
	if err != nil {
		return tpmwire.Attest{}, fmt.Errorf("reading what was signed: %w", err)
	}
	if !bytes.Equal(attest.QualifiedSigner, signer.qualified) {
		return tpmwire.Attest{}, errReplaced
	}
	return attest, nil
}
