// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package ear

import (
	"crypto"
	"time"
)

// AttestationResult is an EAR that was verified: its signature, its profile,
// its times, and its nonce where one was expected. Only Verify makes one that
// says so; it is to be read only, and may be read by several goroutines.
type AttestationResult struct {
	// Token is the EAR as it came, a JWT: for the record, or to be presented.
	Token string
	// Profile is the profile that the claims follow.
	Profile string
	// Verifier is who made the appraisal, in its own words.
	Verifier VerifierID
	// IssuedAt is when, by the verifier's clock.
	IssuedAt time.Time
	// Expiry is until when the result may be used; zero where it does not say.
	Expiry time.Time
	// Nonce is the nonce that the appraisal was asked for with; nil where the
	// result does not say.
	Nonce []byte
	// Status is the worst status of the result and of its submodules.
	Status Tier
	// Submods are the appraisals of each attester, at least one.
	Submods map[string]*Appraisal

	verified bool
}

// Verified reports whether Verify made the result. A policy refuses one that
// it did not make.
func (r *AttestationResult) Verified() bool { return r != nil && r.verified }

// Appraisal is what the verifier says of one attester.
type Appraisal struct {
	// Status is no better than the worst tier of Vector.
	Status Tier
	// Vector has the categories that the verifier made a claim on.
	Vector TrustVector
	// PolicyIDs are the verifier's policies that were applied, in their order.
	PolicyIDs []string
	// AttestedKey is the key that the evidence attests, an *ecdsa.PublicKey, an
	// *rsa.PublicKey or an ed25519.PublicKey; nil if none.
	AttestedKey crypto.PublicKey
	// Evidence is the verifier's readable form of the evidence, nil if none.
	// What its members mean is the appraising scheme's to say.
	Evidence map[string]any
	// Remarks are what the verifier and its policies add: "problem" is where
	// Veraison says why a result does not affirm.
	Remarks map[string]any
}

// Problem is the verifier's own reason for a result that does not affirm, empty
// where it gives none.
func (a *Appraisal) Problem() string {
	if a == nil {
		return ""
	}
	text, _ := a.Remarks["problem"].(string)
	return text
}

// VerifierID is the identity of a verifier (draft-ietf-rats-ar4si, section 3.3).
type VerifierID struct{ Developer, Build string }
