// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package verdict runs test vectors through this module's own verifier.
package verdict

import (
	"errors"
	"fmt"
	"time"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/testvectors"
)

// Run is what came of a vector.
type Run struct {
	// Outcome is for comparison with the one that the vector wants.
	Outcome testvectors.Outcome
	// Result is the appraisal, nil if there was none.
	Result *appraisal.Result
	// Cause is why there was none.
	Cause error
}

// Of appraises a vector's evidence as if its CoRIMs were provisioned at now.
// The error is for a verifier that fails in a way that no vector can want.
func Of(v testvectors.Vector, now time.Time) (Run, error) {
	set, err := provision(v.CoRIMs, now)
	if err != nil {
		return Run{Cause: err, Outcome: testvectors.Outcome{Verdict: testvectors.BadEndorsement, Error: err.Error()}}, nil
	}
	r, err := appraisal.Appraise(v.Evidence, v.Nonce, set)
	if err != nil {
		var bad *bundle.Error
		if !errors.As(err, &bad) {
			return Run{}, fmt.Errorf("the appraisal failed: %w", err)
		}
		return Run{Cause: err, Outcome: testvectors.Outcome{
			Verdict: testvectors.BadEvidence, Check: string(bad.Check), Error: err.Error(),
		}}, nil
	}
	o := testvectors.Outcome{
		Verdict:          testvectors.Verdict(r.Status().String()),
		Hardware:         int8(r.Vector.Hardware),
		InstanceIdentity: int8(r.Vector.InstanceIdentity),
		Executables:      int8(r.Vector.Executables),
		StorageOpaque:    int8(r.Vector.StorageOpaque),
		KeyAttestation:   r.Key,
	}
	for _, p := range r.Problems {
		o.Problems = append(o.Problems, p.String())
	}
	return Run{Outcome: o, Result: r}, nil
}

func provision(corims [][]byte, now time.Time) (*endorsements.Set, error) {
	var read []*endorsements.Corim
	for _, b := range corims {
		c, err := endorsements.Decode(b)
		if err != nil {
			return nil, err
		}
		if err := c.CheckValidity(now); err != nil {
			return nil, err
		}
		read = append(read, c)
	}
	return endorsements.NewSet(read...)
}
