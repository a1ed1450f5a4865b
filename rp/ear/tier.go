// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package ear

import "fmt"

// Tier is a trustworthiness tier (draft-ietf-rats-ar4si, section 3.2). A
// greater value is a worse tier, except that TierNone, the absence of any
// claim, is no tier to rely on: see AtLeast.
type Tier int8

// The tiers.
const (
	TierNone            Tier = 0
	TierAffirming       Tier = 2
	TierWarning         Tier = 32
	TierContraindicated Tier = 96
)

// AtLeast reports whether t is as good as want or better. TierNone satisfies
// nothing, and nothing satisfies it.
func (t Tier) AtLeast(want Tier) bool {
	return t.known() && want.known() && t <= want
}

func (t Tier) known() bool {
	return t == TierAffirming || t == TierWarning || t == TierContraindicated
}

// String is the EAR's name for the tier.
func (t Tier) String() string {
	switch t {
	case TierNone:
		return "none"
	case TierAffirming:
		return "affirming"
	case TierWarning:
		return "warning"
	case TierContraindicated:
		return "contraindicated"
	}
	return fmt.Sprintf("Tier(%d)", int8(t))
}

func parseTier(s string) (Tier, bool) {
	for _, t := range []Tier{TierNone, TierAffirming, TierWarning, TierContraindicated} {
		if s == t.String() {
			return t, true
		}
	}
	return TierNone, false
}

// worse returns the worse of two tiers, where having no claim is worse than
// affirming and better than a warning.
func worse(a, b Tier) Tier {
	rank := func(t Tier) int {
		switch t {
		case TierAffirming:
			return 0
		case TierNone:
			return 1
		case TierWarning:
			return 2
		}
		return 3
	}
	if rank(a) >= rank(b) {
		return a
	}
	return b
}

// Category is a category of the trustworthiness vector.
type Category string

// The categories (draft-ietf-rats-ar4si, section 3.1).
const (
	InstanceIdentity Category = "instance-identity"
	Configuration    Category = "configuration"
	Executables      Category = "executables"
	FileSystem       Category = "file-system"
	Hardware         Category = "hardware"
	RuntimeOpaque    Category = "runtime-opaque"
	StorageOpaque    Category = "storage-opaque"
	SourcedData      Category = "sourced-data"
)

// TrustVector holds the claims of an appraisal by category.
type TrustVector map[Category]Claim

// Claim is the value of a trustworthiness claim.
type Claim int8

// Tier is the range that the claim lies in (draft-ietf-rats-ar4si, section
// 2.3.2). A verifier's malfunction (-1) is no claim.
func (c Claim) Tier() Tier {
	switch {
	case c >= -1 && c <= 1:
		return TierNone
	case c >= -32 && c <= 31:
		return TierAffirming
	case c >= -96 && c <= 95:
		return TierWarning
	}
	return TierContraindicated
}
