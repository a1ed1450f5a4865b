// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
)

// Submod is the name of the part of a result that is about one attester. Its
// policies refuse a result that does not have it.
type Submod string

// TPM is the submodule that Veraison's Parsec TPM scheme writes.
const TPM Submod = "PARSEC_TPM"

// Check makes a policy of a function over the submodule, one's own.
func (s Submod) Check(check func(*ear.Appraisal) error) rp.Policy {
	if check == nil {
		return nil
	}
	return func(r *rp.AttestationResult) error {
		a := r.Submods[string(s)]
		if a == nil {
			return &rp.PolicyError{Submod: string(s), Claim: "submodule", Got: "absent", Want: "present"}
		}
		return check(a)
	}
}

// refuse makes a policy's refusal about the submodule.
func (s Submod) refuse(a *ear.Appraisal, claim, got, want string) error {
	return &rp.PolicyError{Submod: string(s), Claim: claim, Got: got, Want: want, Reason: a.Problem()}
}

// Status accepts a submodule whose status is no worse than a tier.
func (s Submod) Status(want ear.Tier) rp.Policy {
	return s.Check(func(a *ear.Appraisal) error {
		if !a.Status.AtLeast(want) {
			return s.refuse(a, "ear.status", a.Status.String(), atLeast(want))
		}
		return nil
	})
}

// Claim accepts a submodule that makes a claim on a category, of a tier no
// worse than this.
func (s Submod) Claim(category ear.Category, want ear.Tier) rp.Policy {
	return s.Check(func(a *ear.Appraisal) error {
		claim, ok := a.Vector[category]
		switch {
		case !ok:
			return s.refuse(a, string(category), "absent", atLeast(want))
		case !claim.Tier().AtLeast(want):
			return s.refuse(a, string(category), fmt.Sprintf("%d (%v)", claim, claim.Tier()), atLeast(want))
		}
		return nil
	})
}

// AttestedKey accepts a submodule that attests a key.
func (s Submod) AttestedKey() rp.Policy {
	return s.Check(func(a *ear.Appraisal) error {
		if a.AttestedKey == nil {
			return s.refuse(a, "attested key", "absent", "present")
		}
		return nil
	})
}

// AttestedKeyIs accepts a submodule that attests one of the keys, compared by
// their parameters.
func (s Submod) AttestedKeyIs(keys ...crypto.PublicKey) rp.Policy {
	if len(keys) == 0 {
		return nil
	}
	keys = slices.Clone(keys)
	return s.Check(func(a *ear.Appraisal) error {
		attested, ok := a.AttestedKey.(interface{ Equal(crypto.PublicKey) bool })
		if ok && slices.ContainsFunc(keys, attested.Equal) {
			return nil
		}
		var want []string
		for _, key := range keys {
			want = append(want, fingerprint(key))
		}
		return s.refuse(a, "attested key", fingerprint(a.AttestedKey), oneOf(want))
	})
}

func fingerprint(key crypto.PublicKey) string {
	if key == nil {
		return "absent"
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return fmt.Sprintf("a %T", key)
	}
	sum := sha256.Sum256(der)
	return "SHA256:" + hex.EncodeToString(sum[:])
}

// evidenceFormat is the form of readable evidence in which kid is the
// identifier of the attestation key that signed it.
const evidenceFormat = "tag:github.com/veraison/attested-tls,2026:tpm-claims-1"

// Instances accepts evidence that one of these attestation keys signed, named
// by the identifiers under which they are provisioned (AK.KID). It is how
// evidence of another good machine is not accepted for this one.
//
// The identifier is taken from the annotated evidence, which the verifier signs
// and which has one only where the evidence is authentic, and only in the form
// that this project's appraisal gives it.
func (s Submod) Instances(kids ...[]byte) rp.Policy {
	if len(kids) == 0 {
		return nil
	}
	var allowed [][]byte
	var names []string
	for _, kid := range kids {
		allowed = append(allowed, bytes.Clone(kid))
		names = append(names, hex.EncodeToString(kid))
	}
	return s.Check(func(a *ear.Appraisal) error {
		const claim = "instance (kid)"
		if format, _ := a.Evidence["format"].(string); format != evidenceFormat {
			return s.refuse(a, claim, "absent", oneOf(names))
		}
		text, _ := a.Evidence["kid"].(string)
		kid, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
		if err != nil || len(kid) == 0 {
			return s.refuse(a, claim, "unreadable", oneOf(names))
		}
		if !slices.ContainsFunc(allowed, func(k []byte) bool { return bytes.Equal(k, kid) }) {
			return s.refuse(a, claim, hex.EncodeToString(kid), oneOf(names))
		}
		return nil
	})
}
