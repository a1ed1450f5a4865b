// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"cmp"
	"crypto"
	"slices"
	"strconv"
	"strings"
)

// maxPCR is the last PCR that a selection of four bytes can name.
const maxPCR = 31

// PCR names one platform configuration register of a TPM. Bank is
// crypto.SHA256, crypto.SHA384 or crypto.SHA512; Index is 0 to 31.
type PCR struct {
	Bank  crypto.Hash
	Index int
}

// String is tpm2-tools' notation, such as sha256:7.
func (p PCR) String() string {
	return bankName(p.Bank) + ":" + strconv.Itoa(p.Index)
}

func comparePCRs(a, b PCR) int {
	// Go numbers SHA-256, SHA-384 and SHA-512 in this order.
	return cmp.Or(cmp.Compare(a.Bank, b.Bank), cmp.Compare(a.Index, b.Index))
}

// PCRValue is a PCR and the digest that is in it.
type PCRValue struct {
	PCR
	Digest []byte
}

// ReferenceState is one whole set of PCR values that a platform of a class may
// have. It cannot be changed. Its zero value has no class and no values, is no
// state, and must match nothing; [NewSet] refuses it.
type ReferenceState struct {
	class  string
	values []PCRValue // sorted by bank and index
}

// NewReferenceState checks and copies a state: the class, a UUID in text form,
// and at least one value, each with a digest as long as its bank's. SHA-1 banks
// are refused. So is a PCR that occurs twice in a bank, even with the same
// digest: two digests are two states, and an author who repeats one has
// mistaken a PCR. A fault is an [*Error] whose Field is "class" or "values[i]".
func NewReferenceState(class string, values []PCRValue) (ReferenceState, error) {
	canonical, err := canonicalClass(class)
	if err != nil {
		return ReferenceState{}, inField("class", err)
	}
	state, at, err := newReferenceState(canonical, values)
	if err != nil {
		if at >= 0 {
			err = inElement(at, err)
		}
		return ReferenceState{}, inField("values", err)
	}
	return state, nil
}

// newReferenceState returns with an error the index of the value at fault, or
// -1.
func newReferenceState(class string, values []PCRValue) (_ ReferenceState, at int, err error) {
	if len(values) == 0 {
		return ReferenceState{}, -1, fault("none; expected at least one PCR value")
	}
	size := 0
	for i, v := range values {
		if err := v.check(); err != nil {
			return ReferenceState{}, i, err
		}
		size += len(v.Digest)
	}
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	// Each algorithm may occur once among the digests of one thing
	// (draft-ietf-rats-corim-11, 7.7). The second of two equal PCRs stays the
	// second, so that it is the one to be named.
	slices.SortStableFunc(order, func(i, j int) int {
		return comparePCRs(values[i].PCR, values[j].PCR)
	})
	sorted := make([]PCRValue, 0, len(values))
	digests := make([]byte, 0, size)
	for n, i := range order {
		v := values[i]
		if n > 0 && values[order[n-1]].PCR == v.PCR {
			return ReferenceState{}, i, fault("PCR %s occurs twice in one state; "+
				"put the values of a second firmware version into a reference value triple of its own", v.PCR)
		}
		start := len(digests)
		digests = append(digests, v.Digest...)
		sorted = append(sorted, PCRValue{v.PCR, digests[start:len(digests):len(digests)]})
	}
	return ReferenceState{class: class, values: sorted}, -1, nil
}

func (v PCRValue) check() error {
	switch v.Bank {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return fault("expected bank sha256, sha384 or sha512, found %s", v.Bank)
	}
	if v.Index < 0 || v.Index > maxPCR {
		return fault("expected the index of a PCR, 0 to %d, found %d", maxPCR, v.Index)
	}
	if len(v.Digest) != v.Bank.Size() {
		return fault("expected the %d bytes of %s, found %d bytes", v.Bank.Size(), bankName(v.Bank), len(v.Digest))
	}
	return nil
}

// Class returns the class-id, a UUID in canonical lower-case text form.
func (s ReferenceState) Class() string { return s.class }

// Values returns a copy of all values, sorted by bank and index.
func (s ReferenceState) Values() []PCRValue {
	values := slices.Clone(s.values)
	for i := range values {
		values[i].Digest = slices.Clone(values[i].Digest)
	}
	return values
}

// Banks returns the banks that the state has values for, in ascending order.
func (s ReferenceState) Banks() []crypto.Hash {
	var banks []crypto.Hash
	for _, v := range s.values {
		if n := len(banks); n == 0 || banks[n-1] != v.Bank {
			banks = append(banks, v.Bank)
		}
	}
	return banks
}

// PCRs returns the indexes that the state has values for in a bank, in
// ascending order. It is empty for a bank without any.
func (s ReferenceState) PCRs(bank crypto.Hash) []int {
	var indexes []int
	for _, v := range s.values {
		if v.Bank == bank {
			indexes = append(indexes, v.Index)
		}
	}
	return indexes
}

// Mask returns the indexes that the state has values for in a bank, bit n for
// PCR n: zero for a bank without any.
func (s ReferenceState) Mask(bank crypto.Hash) uint32 {
	var mask uint32
	for _, v := range s.values {
		if v.Bank == bank {
			mask |= 1 << v.Index
		}
	}
	return mask
}

// Digest returns the digest of a PCR and whether the state has one. The digest
// is shared and must not be changed.
func (s ReferenceState) Digest(p PCR) ([]byte, bool) {
	i, ok := slices.BinarySearchFunc(s.values, p, func(v PCRValue, p PCR) int {
		return comparePCRs(v.PCR, p)
	})
	if !ok {
		return nil, false
	}
	return s.values[i].Digest, true
}

// String lists the PCRs without their digests in tpm2-tools' notation, such as
// sha256:0,1,7+sha384:0,1.
func (s ReferenceState) String() string {
	var b strings.Builder
	for i, v := range s.values {
		switch {
		case i == 0:
			b.WriteString(bankName(v.Bank) + ":")
		case s.values[i-1].Bank != v.Bank:
			b.WriteString("+" + bankName(v.Bank) + ":")
		default:
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(v.Index))
	}
	return b.String()
}

// identity is equal for equal states only: digests of a bank are of one length.
func (s ReferenceState) identity() string {
	size := len(s.class)
	for _, v := range s.values {
		size += 2 + len(v.Digest)
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteString(s.class)
	for _, v := range s.values {
		b.WriteByte(byte(v.Bank))
		b.WriteByte(byte(v.Index))
		b.Write(v.Digest)
	}
	return b.String()
}

func bankName(bank crypto.Hash) string {
	switch bank {
	case crypto.SHA256:
		return "sha256"
	case crypto.SHA384:
		return "sha384"
	case crypto.SHA512:
		return "sha512"
	}
	return bank.String()
}
