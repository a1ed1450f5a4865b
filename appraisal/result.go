// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package appraisal

import (
	"errors"
	"fmt"
)

// Claim is the value of one trustworthiness claim
// (draft-ietf-rats-ar4si, section 2.3). Its tier is its range.
type Claim int8

// The claim values that an appraisal gives. None of them is zero: in an EAR
// zero means that nothing is claimed, and does not lower the status.
const (
	// Affirming: genuine hardware, trustworthy instance, approved runtime,
	// hardware-protected key.
	Affirming Claim = 2
	// UnrecognizedRuntime: executables that no reference state accounts for.
	UnrecognizedRuntime Claim = 33
	// UnprotectedSecrets: a key that may leave its TPM, or was not made there.
	UnprotectedSecrets Claim = 96
)

// Tier is a trustworthiness tier, and the status of an appraisal: the worst of
// its claims' tiers (draft-ietf-rats-ear).
type Tier int8

// The tiers that an appraisal gives.
const (
	TierAffirming       Tier = 2
	TierWarning         Tier = 32
	TierContraindicated Tier = 96
)

// String is the EAR's name for the tier.
func (t Tier) String() string {
	switch t {
	case TierAffirming:
		return "affirming"
	case TierWarning:
		return "warning"
	case TierContraindicated:
		return "contraindicated"
	default:
		return fmt.Sprintf("tier %d", int8(t))
	}
}

// Tier is the range that the claim's value lies in. Whatever is not affirming
// or a warning is contraindicated, zero included.
func (c Claim) Tier() Tier {
	switch {
	case c >= 2 && c < 32:
		return TierAffirming
	case c >= 32 && c < 96:
		return TierWarning
	default:
		return TierContraindicated
	}
}

// Vector is the part of the trustworthiness vector that TPM evidence speaks
// to.
type Vector struct {
	InstanceIdentity Claim
	Executables      Claim
	Hardware         Claim
	StorageOpaque    Claim
}

// Result is the appraisal of authentic, fresh evidence.
type Result struct {
	// Vector says what each part is worth.
	Vector Vector
	// Key is the attested TLS identity key as DER SubjectPublicKeyInfo; nil
	// unless StorageOpaque affirms.
	Key []byte
	// Problems says why, for each claim that does not affirm.
	Problems []Problem
	// Claims is what the evidence says.
	Claims *Claims
}

// Status is the worst tier of the vector.
func (r *Result) Status() Tier {
	return max(r.Vector.InstanceIdentity.Tier(), r.Vector.Executables.Tier(),
		r.Vector.Hardware.Tier(), r.Vector.StorageOpaque.Tier())
}

// Problem is why a claim does not affirm.
type Problem struct {
	// Claim is the EAR's name for it: "executables" or "storage-opaque".
	Claim string
	// Err wraps one of the causes below.
	Err error
}

func (p Problem) String() string { return p.Claim + ": " + p.Err.Error() }

// The causes of claims that do not affirm.
var (
	// ErrNoReferenceState: the class of the attestation key has none.
	ErrNoReferenceState = errors.New("no reference state is provisioned for this class")
	// ErrPCRSelection: the quote covers nothing, or a PCR twice, or a bank
	// that is not accepted, or another set of PCRs than any reference state.
	ErrPCRSelection = errors.New("the quoted PCRs are not those of a reference state")
	// ErrPCRDigest: the right PCRs, with other values.
	ErrPCRDigest = errors.New("the quoted PCR values match no reference state")
	// ErrKeyAttributes: the identity key's attributes let it leave its TPM,
	// were not made there, or let it do more than sign.
	ErrKeyAttributes = errors.New("the identity key's attributes do not protect it")
	// ErrKeyScheme: the identity key is limited to a scheme that is not
	// accepted for signatures.
	ErrKeyScheme = errors.New("the identity key's scheme is not accepted")
)
