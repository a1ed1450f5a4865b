// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
)

// Affirming accepts a result whose status, and that of every submodule, is
// affirming, which has the submodule TPM, and which all of the others accept.
func Affirming(others ...rp.Policy) rp.Policy {
	return All(append([]rp.Policy{TPM.Status(ear.TierAffirming), Status(ear.TierAffirming)}, others...)...)
}

// All accepts what each of the policies accepts. Without any, or where one of
// them is nil, it refuses with rp.ErrNoPolicy.
func All(policies ...rp.Policy) rp.Policy {
	policies = slices.Clone(policies)
	return func(r *rp.AttestationResult) error {
		if len(policies) == 0 {
			return rp.ErrNoPolicy
		}
		for _, p := range policies {
			if err := p.Check(r); err != nil {
				return err
			}
		}
		return nil
	}
}

// Status accepts a result whose status, and that of every submodule, is no
// worse than a tier.
func Status(want ear.Tier) rp.Policy {
	return func(r *rp.AttestationResult) error {
		for _, name := range slices.Sorted(maps.Keys(r.Submods)) {
			if err := Submod(name).Status(want)(r); err != nil {
				return err
			}
		}
		if !r.Status.AtLeast(want) {
			return &rp.PolicyError{Claim: "ear.status", Got: r.Status.String(), Want: atLeast(want)}
		}
		return nil
	}
}

// MaxAge accepts a result that was issued no longer ago. The verifier's clock
// counts: where it is ahead of this one the result is younger than it seems.
func MaxAge(want time.Duration) rp.Policy {
	return func(r *rp.AttestationResult) error {
		if age := time.Since(r.IssuedAt); age > want {
			return &rp.PolicyError{Claim: "iat", Got: age.Round(time.Second).String() + " ago", Want: "at most " + want.String() + " ago"}
		}
		return nil
	}
}

// Verifier accepts a result of a verifier with this identity. What is empty in
// it may be anything, but not all of it.
func Verifier(want ear.VerifierID) rp.Policy {
	if want == (ear.VerifierID{}) {
		return nil
	}
	return func(r *rp.AttestationResult) error {
		for _, part := range []struct{ name, got, want string }{
			{"developer", r.Verifier.Developer, want.Developer},
			{"build", r.Verifier.Build, want.Build},
		} {
			if part.want != "" && part.got != part.want {
				return &rp.PolicyError{Claim: "ear.verifier-id." + part.name, Got: part.got, Want: part.want}
			}
		}
		return nil
	}
}

func atLeast(t ear.Tier) string {
	if t == ear.TierAffirming {
		return t.String()
	}
	return t.String() + " or better"
}

func oneOf(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return "one of " + strings.Join(list, ", ")
}
