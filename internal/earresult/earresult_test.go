// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package earresult_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/internal/earresult"
)

// The status that is written is the one that ear derives from the vector.
func TestStatusIsEars(t *testing.T) {
	for _, executables := range []appraisal.Claim{appraisal.Affirming, appraisal.UnrecognizedRuntime} {
		for _, storage := range []appraisal.Claim{appraisal.Affirming, appraisal.UnprotectedSecrets} {
			r := &appraisal.Result{Vector: appraisal.Vector{InstanceIdentity: 2, Hardware: 2, Executables: executables, StorageOpaque: storage}}
			a := ear.NewAttestationResult(earresult.Submod, "build", "developer").Submods[earresult.Submod]
			require.NoError(t, earresult.Fill(a, r, nil))
			got := *a.Status
			*a.Status = ear.TrustTierNone
			a.UpdateStatusFromTrustVector()
			assert.Equal(t, *a.Status, got)
			assert.Nil(t, a.VeraisonKeyAttestation)
			assert.Nil(t, a.VeraisonPolicyClaims)
		}
	}
}

func TestRefusesWhatCannotBeFilled(t *testing.T) {
	for _, a := range []*ear.Appraisal{nil, {}, {TrustVector: new(ear.TrustVector)}} {
		assert.Error(t, earresult.Fill(a, new(appraisal.Result), nil))
	}
}
