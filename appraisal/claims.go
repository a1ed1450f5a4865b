// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package appraisal

import (
	"github.com/veraison/eat"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

// Claims is what evidence says of a key and a platform, once somebody answers
// for its authenticity: this package after it verified the evidence, or a
// caller of [ParseClaims].
type Claims struct {
	// KID is the attestation key's identifier.
	KID eat.UEID
	// KAT is about the TLS identity key.
	KAT kat.Claims
	// PAT is about the platform.
	PAT pat.Claims
}

// Appraise holds the claims against the reference states of the class that the
// attestation key belongs to. The caller answers for both: that the claims are
// those of evidence that [VerifyIntegrity] accepted, and that the states are
// of that class.
func (c *Claims) Appraise(states []endorsements.ReferenceState) *Result {
	r := &Result{
		// The AK is provisioned, and signed: a TPM that is known, and genuine
		// as far as who provisioned it made sure.
		Vector: Vector{
			InstanceIdentity: Affirming,
			Hardware:         Affirming,
			Executables:      UnrecognizedRuntime,
			StorageOpaque:    UnprotectedSecrets,
		},
		Claims: c,
	}
	if err := matchState(c.PAT, states); err != nil {
		r.Problems = append(r.Problems, Problem{Claim: "executables", Err: err})
	} else {
		r.Vector.Executables = Affirming
	}
	if err := checkKey(c.KAT); err != nil {
		r.Problems = append(r.Problems, Problem{Claim: "storage-opaque", Err: err})
	} else {
		r.Vector.StorageOpaque = Affirming
		r.Key = c.KAT.SPKI
	}
	return r
}
