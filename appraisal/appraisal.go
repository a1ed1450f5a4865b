// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package appraisal decides what TPM evidence is worth: it holds a bundle and
// a nonce against endorsements and answers with a trustworthiness vector.
//
// [Appraise] is the whole of it. A verifier that is called in steps, as a
// Veraison plugin is, uses [KeyID], [ExtractClaims], [VerifyIntegrity],
// [ParseClaims] and [Claims.Appraise] in this order; they make the same
// checks with the same outcome.
//
// The package is pure: no I/O, no clock, no state. It trusts the endorsements
// and the nonce that the caller hands it, and nothing in the evidence.
//
// There are two kinds of failure. Evidence that is malformed, forged, stale or
// not about the key that it carries is refused with a *bundle.Error. Evidence
// that is authentic but speaks of a platform or key that is not endorsed gives
// a [Result] whose claims say so and whose [Problem] list says why. A Result
// affirms if and only if every check was made and held.
//
// Not checked: certificates of the attestation key (that it lives in a genuine
// TPM is what provisioning it asserts), revocation, event logs, and whatever
// the quoted PCRs do not cover.
package appraisal

import (
	"bytes"
	"crypto"

	"github.com/veraison/eat"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/badevidence"
)

// Appraise verifies evidence that was asked for with nonce, and appraises it
// against what is known. The result is nil if and only if the error is not;
// the error is a *bundle.Error unless the endorsements are unusable.
func Appraise(evidence, nonce []byte, known *endorsements.Set) (*Result, error) {
	b, err := bundle.Parse(evidence)
	if err != nil {
		return nil, err
	}
	anchor, ok := known.TrustAnchor(b.KID())
	if !ok {
		return nil, unknownKey(b.KID())
	}
	v, err := b.Verify(anchor.Key, nonce)
	if err != nil {
		return nil, err
	}
	claims := &Claims{KID: b.KID(), KAT: v.KAT.Claims(), PAT: v.PAT.Claims()}
	return claims.Appraise(known.States(anchor.Class)), nil
}

// KeyID returns the attestation key that the evidence says signed it, after
// every check that needs no more than the evidence: it is worth a look-up, no
// trust.
func KeyID(evidence []byte) (eat.UEID, error) {
	b, err := bundle.Parse(evidence)
	if err != nil {
		return nil, err
	}
	return b.KID(), nil
}

// ExtractClaims returns what the evidence says, as [ParseClaims] reads it and
// with nothing but JSON's types in it. The claims are the sender's: the caller
// must pass the same evidence to [VerifyIntegrity] before it uses them.
func ExtractClaims(evidence []byte) (map[string]any, error) {
	b, err := bundle.Parse(evidence)
	if err != nil {
		return nil, err
	}
	c := Claims{KID: b.KID()}
	c.KAT, c.PAT = b.UntrustedClaims()
	return c.Map(), nil
}

// VerifyIntegrity checks that the evidence was made for nonce and signed by
// the one key that anchors hold under the evidence's key identifier. Identical
// anchors count as one; different keys or classes under one identifier are an
// *endorsements.AmbiguousKeyError, which is not the evidence's fault.
func VerifyIntegrity(evidence, nonce []byte, anchors []endorsements.TrustAnchor) error {
	b, err := bundle.Parse(evidence)
	if err != nil {
		return err
	}
	var ak *endorsements.TrustAnchor
	for i, a := range anchors {
		if !bytes.Equal(a.KID, b.KID()) {
			continue
		}
		if ak != nil && (ak.Class != a.Class || !sameKey(ak.Key, a.Key)) {
			return &endorsements.AmbiguousKeyError{KID: b.KID(), First: *ak, Second: a}
		}
		ak = &anchors[i]
	}
	if ak == nil {
		return unknownKey(b.KID())
	}
	_, err = b.Verify(ak.Key, nonce)
	return err
}

func unknownKey(kid eat.UEID) error {
	return badevidence.Errorf(bundle.UnknownKey, "", "no trust anchor is provisioned for kid %x", []byte(kid))
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
