// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package testvectors holds golden vectors of TPM evidence: what a verifier is
// given, and the exact verdict that it has to reach.
//
// [All] returns the vectors that are embedded in the package, [Load] those of
// another directory. A vector has one defect or none, but for one that has two.
// README.md describes the file format for other implementations. The program in
// generate makes all vectors anew from a TPM simulator.
//
// The package checks the form of a vector and nothing else. It needs no other
// package of this module, so that any verifier can be held against it.
package testvectors

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Ext is the extension of a vector's file.
const Ext = ".vec"

// .gitattributes is in data, too, so that the directory can be embedded before
// there is a vector: the program that makes them imports this package.
//
//go:embed all:data
var data embed.FS

// Verdict is what comes of an appraisal.
type Verdict string

// The verdicts. The first three are the status of an EAR.
const (
	Affirming       Verdict = "affirming"
	Warning         Verdict = "warning"
	Contraindicated Verdict = "contraindicated"
	// BadEvidence: the evidence is refused, there is no appraisal.
	BadEvidence Verdict = "bad-evidence"
	// BadEndorsement: the CoRIMs are refused, whatever the evidence is.
	BadEndorsement Verdict = "bad-endorsement"
)

// Vector is one test vector.
type Vector struct {
	// Name is the file's name without extension, empty when Parse was given no
	// file.
	Name string
	// Comment says what is special about the vector.
	Comment string
	// Spec is the section of the specification that asks for the verdict.
	Spec string

	// Evidence is a bundle as package bundle reads it.
	Evidence []byte
	// Nonce is the session's.
	Nonce []byte
	// CoRIMs are what was provisioned, in this order.
	CoRIMs [][]byte
	// AK is the attestation key as DER SubjectPublicKeyInfo: the one that is
	// provisioned for the device, or if there is none the one that signed.
	AK []byte

	// Want is the verdict and what goes with it.
	Want Outcome
}

// Outcome is a verdict and what goes with it; what does not is zero.
type Outcome struct {
	Verdict Verdict

	// Of an appraisal: the claims, the attested key as DER SubjectPublicKeyInfo
	// or nil for none, and the text of each problem.
	Hardware         int8
	InstanceIdentity int8
	Executables      int8
	StorageOpaque    int8
	KeyAttestation   []byte
	Problems         []string

	// Check is the check that bad evidence failed.
	Check string
	// Error is the text of the error for bad evidence or a bad endorsement.
	Error string
}

// Appraised reports whether the verdict is an appraisal.
func (v Verdict) Appraised() bool {
	return v == Affirming || v == Warning || v == Contraindicated
}

// All returns the vectors of this package, sorted by name.
func All() ([]Vector, error) {
	fsys, err := fs.Sub(data, "data")
	if err != nil {
		return nil, fmt.Errorf("embedded vectors: %w", err)
	}
	return Load(fsys)
}

// Load reads all vectors at the root of fsys, sorted by name. One that is
// malformed is an error, and so is finding none.
func Load(fsys fs.FS) ([]Vector, error) {
	names, err := fs.Glob(fsys, "*"+Ext)
	if err != nil {
		return nil, fmt.Errorf("looking for vectors: %w", err)
	}
	if len(names) == 0 {
		return nil, errors.New("there are no vectors")
	}
	vectors := make([]Vector, 0, len(names))
	for _, name := range names {
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("reading a vector: %w", err)
		}
		v, err := Parse(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		v.Name = strings.TrimSuffix(path.Base(name), Ext)
		vectors = append(vectors, v)
	}
	slices.SortFunc(vectors, func(a, b Vector) int { return strings.Compare(a.Name, b.Name) })
	return vectors, nil
}
