// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package appraisal

import (
	"bytes"
	"crypto"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/tpmwire"
	"github.com/veraison/attested-tls/pat"
)

// matchState looks for the reference state that the quote shows. It returns
// nil if and only if there is one.
func matchState(quote pat.Claims, states []endorsements.ReferenceState) error {
	quoted, err := quotedPCRs(quote.Selection)
	if err != nil {
		return err
	}
	if len(states) == 0 {
		return ErrNoReferenceState
	}
	comparable := 0
	var sum [64]byte
	values := make([]byte, 0, 24*64) // as many as most TPMs have
	for _, state := range states {
		if !covers(state, quoted) {
			continue
		}
		comparable++
		if values, err = concatenate(values[:0], quote.Selection, state); err != nil {
			return err
		}
		// Part 1, section 17.6: the digest over the selected PCRs is made with
		// the hash of the signing scheme.
		if bytes.Equal(quote.PCRDigest, tpmwire.Digest(sum[:0], quote.Hash, values)) {
			return nil
		}
	}
	if comparable == 0 {
		return fmt.Errorf("%w: quoted %s, endorsed %s", ErrPCRSelection, quote.Selection, endorsedSets(states))
	}
	return fmt.Errorf("%w: %s, compared with %d of %d states", ErrPCRDigest, quote.Selection, comparable, len(states))
}

// pcrSet is a set of PCRs in each accepted bank, bit n for PCR n; a bank that
// the quote names with no PCR in it is present and empty.
type pcrSet struct {
	mask  [3]uint32
	named [3]bool
}

// banks are the accepted ones, in pcrSet's order.
var banks = [3]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}

// quotedPCRs checks that a selection is one that can be matched at all.
func quotedPCRs(sel pat.Selection) (pcrSet, error) {
	var set pcrSet
	total := 0
	for _, b := range sel {
		bank, err := tpmwire.Hash(b.Alg)
		if err != nil {
			return pcrSet{}, fmt.Errorf("%w: PCR bank: %w", ErrPCRSelection, err)
		}
		i := slices.Index(banks[:], bank)
		if twice := set.mask[i] & b.Mask; twice != 0 {
			return pcrSet{}, fmt.Errorf("%w: %s names PCR %d of bank %s twice",
				ErrPCRSelection, sel, bits.TrailingZeros32(twice), tpmwire.AlgName(b.Alg))
		}
		set.mask[i] |= b.Mask
		set.named[i] = true
		total += b.PCRs()
	}
	if total == 0 {
		return pcrSet{}, fmt.Errorf("%w: the quote covers no PCR", ErrPCRSelection)
	}
	return set, nil
}

// covers reports whether the state has exactly the quoted PCRs in every bank
// that the quote names.
func covers(state endorsements.ReferenceState, quoted pcrSet) bool {
	for i, bank := range banks {
		if quoted.named[i] && state.Mask(bank) != quoted.mask[i] {
			return false
		}
	}
	return true
}

// concatenate appends the state's values in the order in which the TPM hashed
// them: banks as selected, PCRs ascending.
func concatenate(dst []byte, sel pat.Selection, state endorsements.ReferenceState) ([]byte, error) {
	for _, b := range sel {
		bank, err := tpmwire.Hash(b.Alg)
		if err != nil {
			return nil, err
		}
		for m := b.Mask; m != 0; m &= m - 1 {
			value, ok := state.Digest(endorsements.PCR{Bank: bank, Index: bits.TrailingZeros32(m)})
			if !ok {
				return nil, fmt.Errorf("%w: reference state %s has no value for a PCR of %s", ErrPCRSelection, state, sel)
			}
			dst = append(dst, value...)
		}
	}
	return dst, nil
}

// endorsedSets names the PCR sets of states, each once, for people.
func endorsedSets(states []endorsements.ReferenceState) string {
	const most = 8
	var sets []string
	for _, s := range states {
		if name := s.String(); !slices.Contains(sets, name) {
			sets = append(sets, name)
		}
	}
	if len(sets) > most {
		sets = append(sets[:most], fmt.Sprintf("and %d more", len(sets)-most))
	}
	return strings.Join(sets, ", ")
}
