// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package token is what the key and the platform attestation token have in
// common: a TPMS_ATTEST that an attestation key signed, and the session nonce
// in its extraData.
package token

import (
	"bytes"
	"crypto"
	"errors"

	"github.com/google/go-tpm/tpm2"
	"github.com/veraison/eat"

	"github.com/veraison/attested-tls/internal/badevidence"
	"github.com/veraison/attested-tls/internal/tpmwire"
)

// Version is the only tpmVer that is accepted.
const Version = "2.0"

// Nonce sizes, in bytes: what Veraison's challenge-response API accepts, and
// no more than a TPM2B_DATA holds (TPM 2.0 Part 2, section 10.4.3).
const (
	MinNonceSize = 8
	MaxNonceSize = 64
)

// Statement is a signed TPMS_ATTEST. It is well formed; whether it is true is
// for Verify to say.
type Statement struct {
	// Attest is what the signer claims.
	Attest tpmwire.Attest
	// Signature was made by whoever made the statement.
	Signature tpmwire.Signature
	// KID names the key that is said to have signed.
	KID eat.UEID

	token  string
	signed []byte
}

// Parse decodes a token's parts. name is "kat" or "pat", attest the marshalled
// TPMS_ATTEST and want the type that it must have. Errors are
// *badevidence.Error.
func Parse(name, version string, kid, signature, attest []byte, want tpm2.TPMST) (Statement, error) {
	s := Statement{KID: kid, token: name, signed: attest}
	if version != Version {
		return Statement{}, badevidence.Errorf(badevidence.Version, name, "tpmVer is %.16q, want %q", version, Version)
	}
	// RFC 9711, section 4.2.1.
	if err := s.KID.Validate(); err != nil {
		return Statement{}, badevidence.Errorf(badevidence.KeyID, name, "kid is not a UEID: %w", err)
	}
	var err error
	if s.Signature, err = tpmwire.ParseSignature(signature); err != nil {
		return Statement{}, Refuse(name, "sig", err)
	}
	if s.Attest, err = tpmwire.ParseAttest(attest, want); err != nil {
		return Statement{}, Refuse(name, "attestation", err)
	}
	// Part 2, section 10.12.12: magic keeps a restricted key from having
	// signed bytes that only look like an attestation.
	if s.Attest.Magic != tpmwire.GeneratedValue {
		return Statement{}, badevidence.Errorf(badevidence.Magic, name,
			"magic is 0x%08x, want TPM_GENERATED_VALUE 0x%08x", s.Attest.Magic, uint32(tpmwire.GeneratedValue))
	}
	return s, nil
}

// Verify checks that ak signed the statement, and for nonce. Errors are
// *badevidence.Error.
func (s *Statement) Verify(ak crypto.PublicKey, nonce []byte) error {
	if err := s.Signature.Verify(ak, s.signed); err != nil {
		return Refuse(s.token, "sig", err)
	}
	return s.CheckNonce(nonce)
}

// CheckNonce checks that the statement was made for nonce. Without Verify that
// is the sender's word.
func (s *Statement) CheckNonce(nonce []byte) error {
	if n := len(nonce); n < MinNonceSize || n > MaxNonceSize {
		return badevidence.Errorf(badevidence.Stale, s.token,
			"the session's nonce has %d bytes, want %d to %d: nothing shows that the evidence is fresh", n, MinNonceSize, MaxNonceSize)
	}
	if !bytes.Equal(s.Attest.ExtraData, nonce) {
		return badevidence.Errorf(badevidence.Stale, s.token,
			"extraData is not this session's nonce: the evidence is stale or was made for another session")
	}
	return nil
}

// Refuse turns a decoding or verification failure of a token's field into the
// evidence error that it is.
func Refuse(name, field string, err error) error {
	check := badevidence.Malformed
	switch {
	case errors.Is(err, tpmwire.ErrSignature):
		check = badevidence.Signature
	case isA[*tpmwire.UnsupportedError](err):
		check = badevidence.Algorithm
	case isA[*tpmwire.TypeError](err):
		check = badevidence.Type
	}
	return badevidence.Errorf(check, name, "%s: %w", field, err)
}

func isA[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}
