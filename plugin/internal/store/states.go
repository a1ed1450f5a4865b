// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/veraison/attested-tls/endorsements"
)

// stateAttributes are a reference value's: PCRs is this plugin's, a whole
// state; Alg, Digest and PCR are what Veraison's own plugin keeps, one entry
// for each PCR of whichever state.
type stateAttributes struct {
	Class  string  `json:"parsec-tpm.class-id"`
	PCRs   string  `json:"parsec-tpm.pcrs,omitempty"`
	Alg    *uint64 `json:"parsec-tpm.alg-id,omitempty"`
	Digest []byte  `json:"parsec-tpm.digest,omitempty"`
	PCR    *uint   `json:"parsec-tpm.pcr,omitempty"`
}

// ErrAmbiguous means that Veraison's own plugin has filled the store with the
// PCRs of more than one state of a class.
var ErrAmbiguous = errors.New("the store holds reference values of Veraison's parsec-tpm plugin that cannot be told apart into states: " +
	"provision the class's reference values anew")

// EncodeState returns the attributes of a reference state's entry.
func EncodeState(s endorsements.ReferenceState) (json.RawMessage, error) {
	return json.Marshal(stateAttributes{Class: s.Class(), PCRs: formatPCRs(s.Values())})
}

// DecodeStates reads the entries that the host found under ClassKey, in either
// plugin's form. Entries of Veraison's own plugin are one state where each PCR
// of a bank occurs once. Where they are not, skipped says so if there are
// states of this plugin's form beside them, which is how an operator mends
// such a store; with nothing but them the error is ErrAmbiguous.
func DecodeStates(entries []string) (states []endorsements.ReferenceState, skipped error, err error) {
	var old []stateAttributes
	for i, text := range entries {
		a, err := decodeEntry[stateAttributes](text, referenceValue())
		if err != nil {
			return nil, nil, fmt.Errorf("stored reference value %d: %w", i, err)
		}
		if a.PCRs == "" {
			old = append(old, a)
			continue
		}
		s, err := a.state()
		if err != nil {
			return nil, nil, fmt.Errorf("stored reference value %d: %w", i, err)
		}
		states = append(states, s)
	}
	if len(old) == 0 {
		return states, nil, nil
	}
	s, err := oneState(old)
	switch {
	case errors.Is(err, ErrAmbiguous) && len(states) > 0:
		return states, err, nil
	case err != nil:
		return nil, nil, err
	}
	return append(states, s), nil, nil
}

// state reads this plugin's form.
func (a stateAttributes) state() (endorsements.ReferenceState, error) {
	if a.Alg != nil || a.Digest != nil || a.PCR != nil {
		return endorsements.ReferenceState{}, errors.New("is of both this and Veraison's own plugin's form")
	}
	values, err := parsePCRs(a.PCRs)
	if err != nil {
		return endorsements.ReferenceState{}, err
	}
	return endorsements.NewReferenceState(a.Class, values)
}

// oneState reads all entries of Veraison's own plugin as one state.
func oneState(old []stateAttributes) (endorsements.ReferenceState, error) {
	values := make([]endorsements.PCRValue, 0, len(old))
	for _, a := range old {
		if a.Alg == nil || a.PCR == nil || a.Class != old[0].Class || *a.PCR > 31 {
			return endorsements.ReferenceState{}, errors.New("the store holds a reference value that is incomplete or of another class")
		}
		bank, err := ianaHash(*a.Alg)
		if err != nil {
			return endorsements.ReferenceState{}, err
		}
		pcr := endorsements.PCR{Bank: bank, Index: int(*a.PCR)}
		if slices.ContainsFunc(values, func(v endorsements.PCRValue) bool { return v.PCR == pcr }) {
			return endorsements.ReferenceState{}, fmt.Errorf("%w: class %s has two values for %s", ErrAmbiguous, a.Class, pcr)
		}
		values = append(values, endorsements.PCRValue{PCR: pcr, Digest: a.Digest})
	}
	return endorsements.NewReferenceState(old[0].Class, values)
}

// ianaHash maps the Named Information Hash Algorithm Registry's identifiers.
func ianaHash(id uint64) (crypto.Hash, error) {
	switch id {
	case 1:
		return crypto.SHA256, nil
	case 7:
		return crypto.SHA384, nil
	case 8:
		return crypto.SHA512, nil
	default:
		return 0, fmt.Errorf("digest algorithm %d is not accepted: want 1 (sha-256), 7 (sha-384) or 8 (sha-512)", id)
	}
}
