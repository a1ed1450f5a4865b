// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import (
	"errors"
	"strings"
)

// Policy decides about a verified result: nil accepts, an error refuses. A
// policy of one's own should refuse with a *PolicyError. Policies are applied
// by Check, and made and composed by package policy.
type Policy func(*AttestationResult) error

var (
	// ErrNoPolicy says that there is no policy to decide by.
	ErrNoPolicy = errors.New("no policy is given")
	// ErrNotVerified says that a result did not come from ear.Verify.
	ErrNotVerified = errors.New("the attestation result is not verified")
)

// Check applies the policy. Without a policy, and to a result that was not
// verified, the answer is no.
func (p Policy) Check(r *AttestationResult) error {
	if p == nil {
		return ErrNoPolicy
	}
	if !r.Verified() {
		return ErrNotVerified
	}
	return p(r)
}

// PolicyError says why a policy refuses a result.
type PolicyError struct {
	// Submod is the submodule of the result, empty if the whole is meant.
	Submod string
	// Claim is what decided.
	Claim string
	// Got and Want are what the claim is, and what was asked for.
	Got, Want string
	// Reason is the verifier's own, empty where it gives none.
	Reason string
}

// Error puts it into a sentence.
func (e *PolicyError) Error() string {
	var b strings.Builder
	b.WriteString("refused by policy: ")
	if e.Submod != "" {
		b.WriteString(e.Submod + ": ")
	}
	b.WriteString(e.Claim + " is " + e.Got + ", want " + e.Want)
	if e.Reason != "" {
		b.WriteString(" (the verifier says: " + e.Reason + ")")
	}
	return b.String()
}
