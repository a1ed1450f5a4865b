// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmwire

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/google/go-tpm/tpm2"
)

// Selection is a TPML_PCR_SELECTION (Part 2, section 10.9.7), in the order of
// the structure: the order in which the TPM hashed the PCRs.
type Selection []Bank

// Bank is a TPMS_PCR_SELECTION: the PCRs of one bank, bit n for PCR n.
type Bank struct {
	Alg  tpm2.TPMAlgID
	Mask uint32
}

// PCRs returns how many PCRs the bank selects.
func (b Bank) PCRs() int { return bits.OnesCount32(b.Mask) }

// String writes the selection as tpm2-tools do: sha256:0,1,7+sha384:0. A bank
// of which nothing is selected ends with its colon.
func (s Selection) String() string {
	buf := make([]byte, 0, 128)
	for i, b := range s {
		if i > 0 {
			buf = append(buf, '+')
		}
		buf = append(buf, AlgName(b.Alg)...)
		buf = append(buf, ':')
		for m := b.Mask; m != 0; m &= m - 1 {
			if m != b.Mask {
				buf = append(buf, ',')
			}
			buf = strconv.AppendInt(buf, int64(bits.TrailingZeros32(m)), 10)
		}
	}
	return string(buf)
}

// ParseSelection reads what String writes, and nothing else.
func ParseSelection(s string) (Selection, error) {
	if s == "" {
		return nil, nil
	}
	sel := make(Selection, 0, min(1+strings.Count(s, "+"), maxBanks))
	for part := range strings.SplitSeq(s, "+") {
		name, list, ok := strings.Cut(part, ":")
		if !ok {
			return nil, fmt.Errorf("%.20q has no colon after the bank", part)
		}
		alg, err := parseAlg(name)
		if err != nil {
			return nil, err
		}
		if len(sel) == maxBanks {
			return nil, fmt.Errorf("more than %d banks", maxBanks)
		}
		bank := Bank{Alg: alg}
		for list != "" {
			var number string
			number, list, ok = strings.Cut(list, ",")
			n, err := strconv.ParseUint(number, 10, 5)
			if err != nil || bank.Mask>>n != 0 || ok && list == "" || len(number) > 1 && number[0] == '0' {
				return nil, fmt.Errorf("%.20q: want PCRs of 0 to 31 in ascending order", part)
			}
			bank.Mask |= 1 << n
		}
		sel = append(sel, bank)
	}
	return sel, nil
}
