// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package earresult writes a verdict into an EAR appraisal, the same way in the
// Veraison plugin and wherever else an EAR is made.
package earresult

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/veraison/ear"

	"github.com/veraison/attested-tls/appraisal"
)

// Submod is the submodule of an EAR that is about TPM evidence.
const Submod = "PARSEC_TPM"

// Fill writes the verdict r into a, which must be new: trust vector, status, the
// attested key, the reasons, and annotated, the evidence in readable form.
func Fill(a *ear.Appraisal, r *appraisal.Result, annotated map[string]any) error {
	if a == nil || a.TrustVector == nil || a.Status == nil {
		return errors.New("the appraisal to be filled has no trust vector or no status")
	}
	a.TrustVector.InstanceIdentity = ear.TrustClaim(r.Vector.InstanceIdentity)
	a.TrustVector.Executables = ear.TrustClaim(r.Vector.Executables)
	a.TrustVector.Hardware = ear.TrustClaim(r.Vector.Hardware)
	a.TrustVector.StorageOpaque = ear.TrustClaim(r.Vector.StorageOpaque)
	*a.Status = ear.TrustTier(r.Status())
	a.VeraisonAnnotatedEvidence = &annotated
	if r.Key != nil {
		// What ear's SetKeyAttestation writes, from the encoded key.
		a.VeraisonKeyAttestation = &map[string]any{"akpub": base64.RawURLEncoding.EncodeToString(r.Key)}
	}
	if len(r.Problems) > 0 {
		// Veraison's own name for what it has to say about a result.
		a.VeraisonPolicyClaims = &map[string]any{"problem": Reasons(r)}
	}
	return nil
}

// Reasons puts the problems of a result into one line.
func Reasons(r *appraisal.Result) string {
	texts := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		texts[i] = p.String()
	}
	return strings.Join(texts, "; ")
}
