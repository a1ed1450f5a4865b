// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/testvectors"
	"github.com/veraison/attested-tls/testvectors/internal/verdict"
)

// vectorCase is how one vector is made and what it is expected to give.
type vectorCase struct {
	name    string
	comment string
	spec    string
	want    want

	// ak and tik are ECDSA P-256 with SHA-256 where they are zero, sel is
	// usualPCRs where it is empty.
	ak, tik attester.KeyAlg
	sel     string
	// forged has the forger's key provisioned as the AK, so that it can sign
	// what no TPM makes.
	forged bool
	// change makes of good evidence what the vector is about.
	change func(context.Context, *scene) error
}

// want is an intended outcome. The texts of errors and problems are whatever
// the run gives, but each must contain what is intended here.
type want struct {
	verdict testvectors.Verdict

	executables, storageOpaque appraisal.Claim
	problems                   []wantProblem

	check bundle.Check
	token string // "kat", "pat" or none
	says  string
}

type wantProblem struct {
	claim string
	err   error
	says  string
}

func affirming() want {
	return want{verdict: testvectors.Affirming, executables: appraisal.Affirming, storageOpaque: appraisal.Affirming}
}

// warning is for a platform that is not endorsed.
func warning(err error, says string) want {
	return want{
		verdict:     testvectors.Warning,
		executables: appraisal.UnrecognizedRuntime, storageOpaque: appraisal.Affirming,
		problems: []wantProblem{{"executables", err, says}},
	}
}

// contraindicated is for an identity key that its TPM does not protect.
func contraindicated(err error, says string) want {
	return want{
		verdict:     testvectors.Contraindicated,
		executables: appraisal.Affirming, storageOpaque: appraisal.UnprotectedSecrets,
		problems: []wantProblem{{"storage-opaque", err, says}},
	}
}

func badEvidence(check bundle.Check, token, says string) want {
	return want{verdict: testvectors.BadEvidence, check: check, token: token, says: says}
}

func badEndorsement(says string) want {
	return want{verdict: testvectors.BadEndorsement, says: says}
}

// verify compares the run of a scene's vector with what was intended.
func (w want) verify(r verdict.Run, s *scene) error {
	got := r.Outcome
	if got.Verdict != w.verdict {
		return fmt.Errorf("verdict is %s, want %s: %s%s", got.Verdict, w.verdict, got.Error, strings.Join(got.Problems, "; "))
	}
	switch w.verdict {
	case testvectors.BadEndorsement:
		return contains(got.Error, w.says)
	case testvectors.BadEvidence:
		var bad *bundle.Error
		if !errors.As(r.Cause, &bad) || bad.Check != w.check || bad.Token != w.token {
			return fmt.Errorf("the error is %q, want check %s of %q", got.Error, w.check, w.token)
		}
		return errors.Join(contains(got.Error, string(w.check)), contains(got.Error, w.says))
	}
	vector := appraisal.Vector{
		InstanceIdentity: appraisal.Affirming, Hardware: appraisal.Affirming,
		Executables: w.executables, StorageOpaque: w.storageOpaque,
	}
	if r.Result.Vector != vector {
		return fmt.Errorf("the claims are %v, want %v", r.Result.Vector, vector)
	}
	key, err := spki(s.tik.Public())
	if err != nil {
		return err
	}
	if w.storageOpaque != appraisal.Affirming {
		key = nil
	}
	if !bytes.Equal(got.KeyAttestation, key) {
		return errors.New("another key is attested than intended")
	}
	if !slices.EqualFunc(w.problems, r.Result.Problems, wantProblem.matches) {
		return fmt.Errorf("the problems are %q, want %v", got.Problems, w.problems)
	}
	return nil
}

func (w wantProblem) matches(p appraisal.Problem) bool {
	return w.claim == p.Claim && errors.Is(p.Err, w.err) && strings.Contains(p.String(), w.says)
}

func contains(text, part string) error {
	if !strings.Contains(text, part) {
		return fmt.Errorf("the error is %q, which does not say %q", text, part)
	}
	return nil
}
