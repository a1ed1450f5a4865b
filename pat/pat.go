// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package pat decodes and verifies the platform attestation token (PAT): the
// statement of a TPM, made with TPM2_Quote, about the values of its PCRs.
//
// A [Token] is what the wire carried. [Parse] makes it an [Unverified]: whole
// and well formed, but said by anyone. [Unverified.Verify] makes it a
// [Verified] when the attestation key (AK) signed it for this session's nonce.
// Only the last answers questions about the platform.
//
// Not checked here: whether the AK is one to be trusted (package endorsements)
// and whether the PCRs are the right ones with the right values (package
// appraisal). A quote carries a digest of the values, never the values.
//
// The format is Parsec's (CCC-Attestation/attested-tls-poc,
// doc/format-definitions/parsec-platform-evidence-tpm.md), its structures
// those of the TPM 2.0 Library, Part 2. Errors are *bundle.Error.
package pat

import (
	"crypto"

	"github.com/google/go-tpm/tpm2"
	"github.com/veraison/eat"

	"github.com/veraison/attested-tls/internal/token"
	"github.com/veraison/attested-tls/internal/tpmwire"
)

// name is the token's name in errors.
const name = "pat"

// Token is a platform attestation token as on the wire. Nothing in it is
// verified, every field is the sender's choice.
type Token struct {
	// TPMVer is the version of the TPM specification, "2.0".
	TPMVer string
	// KID names the AK that signed: a UEID (RFC 9711, section 4.2.1).
	KID []byte
	// Sig is the TPMT_SIGNATURE over AttestInfo.
	Sig []byte
	// AttestInfo is the TPMS_ATTEST of TPM2_Quote, without a size before it.
	AttestInfo []byte
}

// Unverified is a well-formed token. Its content is what the sender says.
type Unverified struct {
	statement token.Statement
}

// Verified is a token that the AK signed for this session's nonce. Its zero
// value claims nothing.
type Verified struct{ claims Claims }

// Selection is a TPML_PCR_SELECTION (Part 2, section 10.9.7); its String is
// what tpm2-tools take: sha256:0,1,7+sha384:0.
type Selection = tpmwire.Selection

// Scheme is a signature scheme and its hash; its String is what tpm2-tools
// call it: ecdsa-sha256.
type Scheme = tpmwire.Scheme

// Clock is a TPMS_CLOCK_INFO (Part 2, section 10.11.1).
type Clock = tpmwire.Clock

// Claims is what a token says of the platform.
type Claims struct {
	// Selection lists the quoted PCRs in the order in which they were hashed.
	Selection Selection
	// PCRDigest is the digest over the selected PCRs' values, made with Hash
	// (Part 1, section 17.6).
	PCRDigest []byte
	// Hash is that of the AK's signature scheme, which may differ from the
	// banks'.
	Hash crypto.Hash
	// Signature is how the AK signed.
	Signature Scheme
	// Clock and FirmwareVersion are obfuscated by the TPM for keys outside
	// the endorsement and platform hierarchies (Part 1, section 36.7): to be
	// reported, not to be decided by.
	Clock           Clock
	FirmwareVersion uint64
}

// Parse decodes t's structures, each to its last byte. The result keeps
// references into t.
func Parse(t Token) (Unverified, error) {
	s, err := token.Parse(name, t.TPMVer, t.KID, t.Sig, t.AttestInfo, tpm2.TPMSTAttestQuote)
	if err != nil {
		return Unverified{}, err
	}
	return Unverified{statement: s}, nil
}

// KID is the key that the token says signed it: enough to look a trust anchor
// up by, worth nothing without Verify.
func (u *Unverified) KID() eat.UEID { return u.statement.KID }

// CheckNonce finds out a token for another session before its key is known. It
// can refuse and not accept: anybody may have written the nonce there.
func (u *Unverified) CheckNonce(nonce []byte) error { return u.statement.CheckNonce(nonce) }

// UntrustedClaims is what the sender says. Only a caller that verifies the
// same token before it uses the claims may ask.
func (u *Unverified) UntrustedClaims() Claims {
	return Claims{
		Selection:       u.statement.Attest.Selection,
		PCRDigest:       u.statement.Attest.PCRDigest,
		Hash:            u.statement.Signature.Hash,
		Signature:       u.statement.Signature.Scheme(),
		Clock:           u.statement.Attest.Clock,
		FirmwareVersion: u.statement.Attest.FirmwareVersion,
	}
}

// Verify checks that ak signed the token and that it was made for nonce.
func (u *Unverified) Verify(ak crypto.PublicKey, nonce []byte) (Verified, error) {
	if err := u.statement.Verify(ak, nonce); err != nil {
		return Verified{}, err
	}
	return Verified{claims: u.UntrustedClaims()}, nil
}

// Claims is what the AK vouches for.
func (v Verified) Claims() Claims { return v.claims }
