// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package kat decodes and verifies the key attestation token (KAT): the proof
// by a TPM, made with TPM2_Certify, that it holds the TLS identity key (TIK).
//
// A [Token] is what the wire carried. [Parse] makes it an [Unverified]: whole
// and well formed, but said by anyone. [Unverified.Verify] makes it a
// [Verified] when the attestation key (AK) signed it for this session's nonce
// and it is about the public area that came with it. Only the last answers
// questions about the key.
//
// Not checked here: whether the AK is one to be trusted (package
// endorsements), whether the TIK's attributes keep it in its TPM and whether
// the platform is in a good state (package appraisal).
//
// The format is Parsec's (CCC-Attestation/attested-tls-poc,
// doc/format-definitions/parsec-key-evidence-tpm.md), its structures those of
// the TPM 2.0 Library, Part 2. Errors are *bundle.Error.
package kat

import (
	"crypto"
	"crypto/x509"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/veraison/eat"

	"github.com/veraison/attested-tls/internal/badevidence"
	"github.com/veraison/attested-tls/internal/token"
	"github.com/veraison/attested-tls/internal/tpmwire"
)

// name is the token's name in errors.
const name = "kat"

// Token is a key attestation token as on the wire. Nothing in it is verified,
// every field is the sender's choice.
type Token struct {
	// TPMVer is the version of the TPM specification, "2.0".
	TPMVer string
	// KID names the AK that signed: a UEID (RFC 9711, section 4.2.1).
	KID []byte
	// Sig is the TPMT_SIGNATURE over CertInfo.
	Sig []byte
	// CertInfo is the TPMS_ATTEST of TPM2_Certify, without a size before it.
	CertInfo []byte
	// PubArea is the TIK's TPMT_PUBLIC, without a size before it.
	PubArea []byte
}

// Unverified is a well-formed token. Its content is what the sender says.
type Unverified struct {
	statement token.Statement
	pub       tpmwire.Public
	pubArea   []byte
}

// Verified is a token that the AK signed for this session's nonce. Its zero
// value claims nothing.
type Verified struct{ claims Claims }

// Attributes is a TPMA_OBJECT (Part 2, section 8.3.2); its String names what is
// set.
type Attributes = tpmwire.Attributes

// Scheme is a signing scheme and its hash; its String is what tpm2-tools call
// it: ecdsa-sha256.
type Scheme = tpmwire.Scheme

// Claims is what a token says of the key and of the TPM that holds it.
type Claims struct {
	// SPKI is the TIK as DER SubjectPublicKeyInfo: an ECDSA key on P-256,
	// P-384 or P-521, or an RSA key of 2048 to 4096 bits.
	SPKI []byte
	// KeyType names its kind and size, for people: "ECDSA P-256".
	KeyType string
	// Attributes are the TIK's.
	Attributes Attributes
	// Scheme is what the TIK is limited to; its Alg is TPM_ALG_NULL when the
	// key is free.
	Scheme Scheme
	// Name is the TIK's Name: the name algorithm and the digest.
	Name []byte
}

// Parse decodes t's structures, each to its last byte. The result keeps
// references into t.
func Parse(t Token) (Unverified, error) {
	s, err := token.Parse(name, t.TPMVer, t.KID, t.Sig, t.CertInfo, tpm2.TPMSTAttestCertify)
	if err != nil {
		return Unverified{}, err
	}
	pub, err := tpmwire.ParsePublic(t.PubArea)
	if err != nil {
		return Unverified{}, token.Refuse(name, "pubArea", err)
	}
	return Unverified{statement: s, pub: pub, pubArea: t.PubArea}, nil
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
		SPKI:       u.pub.SPKI,
		KeyType:    u.pub.KeyType,
		Attributes: u.pub.Attributes,
		Scheme:     u.pub.Scheme,
		Name:       u.statement.Attest.CertifiedName,
	}
}

// PublicKey decodes SPKI: an *ecdsa.PublicKey or an *rsa.PublicKey.
func (c Claims) PublicKey() (crypto.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(c.SPKI)
	if err != nil {
		return nil, fmt.Errorf("decoding the identity key: %w", err)
	}
	return key, nil
}

// Verify checks that ak signed the token, that it was made for nonce, and that
// it certifies the public area that it carries.
func (u *Unverified) Verify(ak crypto.PublicKey, nonce []byte) (Verified, error) {
	if err := u.statement.Verify(ak, nonce); err != nil {
		return Verified{}, err
	}
	// Part 2, section 10.12.3: attested.name is the Name of the certified key.
	if !u.pub.Named(u.statement.Attest.CertifiedName, u.pubArea) {
		return Verified{}, badevidence.Errorf(badevidence.Name, name,
			"certInfo certifies another key than pubArea's: the names differ")
	}
	return Verified{claims: u.UntrustedClaims()}, nil
}

// Claims is what the AK vouches for.
func (v Verified) Claims() Claims { return v.claims }
