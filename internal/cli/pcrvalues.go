// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/tpmwire"
)

// maxPCRValues is more than tpm2_pcrread prints of all banks.
const maxPCRValues = 64 << 10

// pcrValues are digests by bank and index.
type pcrValues struct {
	values map[endorsements.PCR][]byte
	// passedOver are banks that there were values of and that are not endorsed.
	passedOver []string
}

// bankSize is how many bytes the digests of a bank that tpm2_pcrread can print
// have, 0 for any other name.
func bankSize(name string) int {
	switch name {
	case "sha1":
		return 20
	case "sha256", "sm3_256", "sha3_256":
		return 32
	case "sha384", "sha3_384":
		return 48
	case "sha512", "sha3_512":
		return 64
	}
	return 0
}

// parsePCRValues reads what tpm2_pcrread prints: a line with a bank's name and a
// colon, then one for each PCR with its index, a colon and the digest in
// hexadecimal after 0x. Values of a bank that is not endorsed, such as sha1, are
// read as strictly and passed over.
func parsePCRValues(data []byte) (*pcrValues, error) {
	if len(data) > maxPCRValues {
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", len(data), maxPCRValues)
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return nil, errors.New("it is not text as tpm2_pcrread prints it")
	}
	p := &pcrValues{values: make(map[endorsements.PCR][]byte)}
	var (
		bank  string
		banks []string
		seen  map[int]bool
	)
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		text := strings.TrimSpace(line)
		if text == "" {
			continue
		}
		name, value, ok := strings.Cut(text, ":")
		name, value = strings.TrimRight(name, " \t"), strings.TrimLeft(value, " \t")
		switch {
		case !ok:
			return nil, fmt.Errorf(`line %d: %.40q: want a bank, as in "sha256:", or a value, as in "0 : 0x…"`, number, text)
		case value == "":
			if bankSize(name) == 0 {
				return nil, fmt.Errorf("line %d: bank %.20q is not known", number, name)
			}
			if slices.Contains(banks, name) {
				return nil, fmt.Errorf("line %d: bank %s is there twice", number, name)
			}
			bank, banks, seen = name, append(banks, name), make(map[int]bool)
			continue
		case bank == "":
			return nil, fmt.Errorf("line %d: a value before any bank", number)
		}
		index, digest, err := parsePCRValue(name, value, bankSize(bank))
		if err != nil {
			return nil, fmt.Errorf("line %d: bank %s: %w", number, bank, err)
		}
		if seen[index] {
			return nil, fmt.Errorf("line %d: PCR %s:%d is there twice", number, bank, index)
		}
		seen[index] = true
		hash, err := tpmwire.ParseHash(bank)
		if err != nil {
			if !slices.Contains(p.passedOver, bank) {
				p.passedOver = append(p.passedOver, bank)
			}
			continue
		}
		p.values[endorsements.PCR{Bank: hash, Index: index}] = digest
	}
	if len(p.values) == 0 {
		return nil, errors.New("it has no PCR values of a bank sha256, sha384 or sha512")
	}
	return p, nil
}

func parsePCRValue(name, value string, size int) (int, []byte, error) {
	index, err := strconv.ParseUint(name, 10, 8)
	if err != nil || index > 23 || len(name) > 2 {
		return 0, nil, fmt.Errorf("%.20q is no PCR: want 0 to 23", name)
	}
	digits, ok := strings.CutPrefix(value, "0x")
	digest, err := hex.DecodeString(digits)
	if !ok || err != nil {
		return 0, nil, fmt.Errorf("PCR %d: %.20q is no digest: want 0x and hexadecimal digits", index, value)
	}
	if len(digest) != size {
		return 0, nil, fmt.Errorf("PCR %d: a digest of %d bytes, want %d", index, len(digest), size)
	}
	return int(index), digest, nil
}

// take gives the values of a selection, or all of them if it is nil.
func (p *pcrValues) take(sel attester.Selection) ([]endorsements.PCRValue, error) {
	var values []endorsements.PCRValue
	if sel == nil {
		for pcr, digest := range p.values {
			values = append(values, endorsements.PCRValue{PCR: pcr, Digest: digest})
		}
		return values, nil
	}
	for _, bank := range sel {
		for _, i := range bank.PCRs {
			pcr := endorsements.PCR{Bank: bank.Bank, Index: i}
			digest, ok := p.values[pcr]
			if !ok {
				return nil, fmt.Errorf("it has no value of PCR %v", pcr)
			}
			values = append(values, endorsements.PCRValue{PCR: pcr, Digest: digest})
		}
	}
	return values, nil
}

// digest is the digest that a quote over the selection has (Part 1, section
// 17.6): of the values in the order of the selection, PCRs ascending.
func (p *pcrValues) digest(hash crypto.Hash, sel tpmwire.Selection) ([]byte, error) {
	h := hash.New()
	for _, bank := range sel {
		alg, err := tpmwire.Hash(bank.Alg)
		if err != nil {
			return nil, err
		}
		for i := range 32 {
			if bank.Mask&(1<<i) == 0 {
				continue
			}
			pcr := endorsements.PCR{Bank: alg, Index: i}
			value, ok := p.values[pcr]
			if !ok {
				return nil, fmt.Errorf("it has no value of PCR %v", pcr)
			}
			h.Write(value)
		}
	}
	return h.Sum(nil), nil
}
