// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package bundle is the evidence on the wire: a key attestation token and a
// platform attestation token by the same attestation key (AK), as one CBOR map
// {"kat": …, "pat": …}.
//
// An attester calls [Encode], a verifier [Parse] and then [Unverified.Verify]
// with the key that is provisioned under [Unverified.KID] and the session's
// nonce. What comes of it is authentic and fresh, no more: package appraisal
// holds it against endorsements.
//
// The decoder is strict, because whoever sends evidence is not yet trusted:
// at most [MaxSize] bytes, definite lengths, no duplicate or unknown keys, no
// tags, nothing after the end.
package bundle

import (
	"bytes"
	"crypto"

	"github.com/veraison/eat"

	"github.com/veraison/attested-tls/internal/badevidence"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

// MediaType is the evidence's, as Parsec and Veraison register it.
const MediaType = "application/vnd.parallaxsecond.key-attestation.tpm"

// MaxSize is the largest bundle that is read, in bytes. The largest that a TPM
// makes, with RSA-4096 keys, is under 3 KiB.
const MaxSize = 16 << 10

// Error says which check evidence failed. All errors of this package, kat and
// pat are of this type.
type Error = badevidence.Error

// Check names the check that the evidence failed.
type Check = badevidence.Check

// The checks that evidence can fail before it is held against endorsements.
const (
	Malformed  = badevidence.Malformed
	Version    = badevidence.Version
	KeyID      = badevidence.KeyID
	UnknownKey = badevidence.UnknownKey
	Algorithm  = badevidence.Algorithm
	Signature  = badevidence.Signature
	Magic      = badevidence.Magic
	Type       = badevidence.Type
	Stale      = badevidence.Stale
	Name       = badevidence.Name
)

// Unverified is a well-formed bundle. Its content is what the sender says.
type Unverified struct {
	kat kat.Unverified
	pat pat.Unverified
}

// Verified is a bundle whose two tokens one AK signed for this session. Its
// zero value claims nothing.
type Verified struct {
	// KAT and PAT are the verified tokens.
	KAT kat.Verified
	PAT pat.Verified
}

// Parse decodes a bundle and the structures in it, each to its last byte, and
// checks that both tokens name the same AK. The result refers to data.
func Parse(data []byte) (Unverified, error) {
	kt, pt, err := Decode(data)
	if err != nil {
		return Unverified{}, err
	}
	k, err := kat.Parse(kt)
	if err != nil {
		return Unverified{}, err
	}
	p, err := pat.Parse(pt)
	if err != nil {
		return Unverified{}, err
	}
	if !bytes.Equal(k.KID(), p.KID()) {
		return Unverified{}, badevidence.Errorf(KeyID, "", "kat.kid and pat.kid name different attestation keys")
	}
	return Unverified{kat: k, pat: p}, nil
}

// KID is the AK that the bundle says signed it: enough to look a trust anchor
// up by, worth nothing without Verify.
func (u *Unverified) KID() eat.UEID { return u.kat.KID() }

// CheckNonce finds out a bundle for another session before its key is known. It
// can refuse and not accept: anybody may have written the nonce there.
func (u *Unverified) CheckNonce(nonce []byte) error {
	if err := u.kat.CheckNonce(nonce); err != nil {
		return err
	}
	return u.pat.CheckNonce(nonce)
}

// UntrustedClaims is what the sender says. Only a caller that verifies the
// same bundle before it uses the claims may ask.
func (u *Unverified) UntrustedClaims() (kat.Claims, pat.Claims) {
	return u.kat.UntrustedClaims(), u.pat.UntrustedClaims()
}

// Verify checks both tokens: signed by ak, made for nonce, the first about the
// key that it carries.
func (u *Unverified) Verify(ak crypto.PublicKey, nonce []byte) (Verified, error) {
	k, err := u.kat.Verify(ak, nonce)
	if err != nil {
		return Verified{}, err
	}
	p, err := u.pat.Verify(ak, nonce)
	if err != nil {
		return Verified{}, err
	}
	return Verified{KAT: k, PAT: p}, nil
}
