// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/internal/tpmwire"
)

// pcrCount is how many PCRs a bank of a PC client TPM has.
const pcrCount = 24

// Selection is a choice of PCRs from one or more banks. A quote's digest
// depends on the order of the banks.
type Selection []BankSelection

// BankSelection is a choice of PCRs of one bank.
type BankSelection struct {
	// Bank is SHA-256, SHA-384 or SHA-512. SHA-1 is never attested.
	Bank crypto.Hash
	// PCRs are indices from 0 to 23. Their order has no meaning.
	PCRs []int
}

// ParseSelection reads a selection as tpm2-tools write it: a bank and its
// PCRs, banks joined by a plus sign, as in "sha256:0,1,7+sha384:0,1", or
// "sha256:all".
func ParseSelection(s string) (Selection, error) {
	var sel Selection
	for part := range strings.SplitSeq(s, "+") {
		bank, err := parseBank(part)
		if err != nil {
			return nil, fmt.Errorf("PCR selection %q: %w", s, err)
		}
		sel = append(sel, bank)
	}
	if err := sel.check(); err != nil {
		return nil, fmt.Errorf("PCR selection %q: %w", s, err)
	}
	return sel, nil
}

func parseBank(s string) (BankSelection, error) {
	name, list, found := strings.Cut(s, ":")
	bank := BankSelection{Bank: hashes[name]}
	if name == "sha1" {
		bank.Bank = crypto.SHA1 // for check to refuse
	}
	if bank.Bank == 0 || !found {
		return BankSelection{}, fmt.Errorf("%q: want a bank and its PCRs, such as sha256:0,1,7", s)
	}
	if list == "all" {
		for i := range pcrCount {
			bank.PCRs = append(bank.PCRs, i)
		}
		return bank, nil
	}
	for field := range strings.SplitSeq(list, ",") {
		i, err := strconv.ParseUint(field, 10, 8) // digits only, no sign
		if err != nil {
			return BankSelection{}, fmt.Errorf("%q in %q is not a PCR's number", field, s)
		}
		bank.PCRs = append(bank.PCRs, int(i))
	}
	slices.Sort(bank.PCRs)
	return bank, nil
}

// String writes the selection as tpm2-tools do, PCRs in ascending order.
func (s Selection) String() string {
	var b strings.Builder
	for i, bank := range s {
		if i > 0 {
			b.WriteByte('+')
		}
		b.WriteString(hashName(bank.Bank))
		sep := byte(':')
		for _, pcr := range slices.Sorted(slices.Values(bank.PCRs)) {
			b.WriteByte(sep)
			b.WriteString(strconv.Itoa(pcr))
			sep = ','
		}
	}
	return b.String()
}

func (s Selection) check() error {
	if len(s) == 0 {
		return errors.New("no PCR is selected")
	}
	for i, bank := range s {
		name := hashName(bank.Bank)
		if bank.Bank == crypto.SHA1 {
			return errors.New("the sha1 bank is not attested: SHA-1 is broken")
		}
		if _, ok := tpmwire.HashAlg(bank.Bank); !ok {
			return fmt.Errorf("bank %s is not known: want sha256, sha384 or sha512", name)
		}
		if slices.ContainsFunc(s[:i], func(b BankSelection) bool { return b.Bank == bank.Bank }) {
			return fmt.Errorf("bank %s is there twice", name)
		}
		if len(bank.PCRs) == 0 {
			return fmt.Errorf("no PCR of bank %s is selected", name)
		}
		for j, pcr := range bank.PCRs {
			if pcr < 0 || pcr >= pcrCount {
				return fmt.Errorf("PCR %d of bank %s: want 0 to %d", pcr, name, pcrCount-1)
			}
			if slices.Contains(bank.PCRs[:j], pcr) {
				return fmt.Errorf("PCR %d of bank %s is there twice", pcr, name)
			}
		}
	}
	return nil
}

// marshal checks the selection and makes it a TPML_PCR_SELECTION (Part 2,
// section 10.9.7).
func (s Selection) marshal() (tpm2.TPMLPCRSelection, error) {
	if err := s.check(); err != nil {
		return tpm2.TPMLPCRSelection{}, err
	}
	var list tpm2.TPMLPCRSelection
	for _, bank := range s {
		alg, _ := tpmwire.HashAlg(bank.Bank)
		pcrs := make([]uint, 0, len(bank.PCRs))
		for _, pcr := range bank.PCRs {
			pcrs = append(pcrs, uint(pcr))
		}
		list.PCRSelections = append(list.PCRSelections, tpm2.TPMSPCRSelection{
			Hash:      alg,
			PCRSelect: tpm2.PCClientCompatible.PCRs(pcrs...),
		})
	}
	return list, nil
}

// appendSelection appends a TPML_PCR_SELECTION.
func appendSelection(b []byte, list tpm2.TPMLPCRSelection) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(list.PCRSelections)))
	for _, bank := range list.PCRSelections {
		b = binary.BigEndian.AppendUint16(b, uint16(bank.Hash))
		b = append(append(b, byte(len(bank.PCRSelect))), bank.PCRSelect...)
	}
	return b
}

// selected lists the PCRs of a TPMS_PCR_SELECTION in ascending order (Part 2,
// section 10.6.1: bit n mod 8 of octet n/8).
func selected(mask []byte) []int {
	var pcrs []int
	for i := range 8 * len(mask) {
		if mask[i/8]&(1<<(i%8)) != 0 {
			pcrs = append(pcrs, i)
		}
	}
	return pcrs
}

// describe writes a TPM's selection as tpm2-tools do, banks without a selected
// PCR left out.
func describe(list tpm2.TPMLPCRSelection) string {
	var parts []string
	for _, bank := range list.PCRSelections {
		var pcrs []string
		for _, pcr := range selected(bank.PCRSelect) {
			pcrs = append(pcrs, strconv.Itoa(pcr))
		}
		if len(pcrs) > 0 {
			parts = append(parts, tpmwire.AlgName(bank.Hash)+":"+strings.Join(pcrs, ","))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, "+")
}

// sameSelection reports whether a quote is over the PCRs that were asked for.
func sameSelection(got tpmwire.Selection, want tpm2.TPMLPCRSelection) bool {
	return slices.EqualFunc(got, want.PCRSelections, func(g tpmwire.Bank, w tpm2.TPMSPCRSelection) bool {
		return g.Alg == w.Hash && g.Mask == mask(w.PCRSelect)
	})
}

func mask(octets []byte) uint32 {
	var m uint32
	for i, octet := range octets {
		m |= uint32(octet) << (8 * i)
	}
	return m
}

// listed is a quote's selection as the TPM's other commands have it.
func listed(s tpmwire.Selection) tpm2.TPMLPCRSelection {
	var list tpm2.TPMLPCRSelection
	for _, b := range s {
		list.PCRSelections = append(list.PCRSelections, tpm2.TPMSPCRSelection{
			Hash: b.Alg, PCRSelect: binary.LittleEndian.AppendUint32(nil, b.Mask),
		})
	}
	return list
}
