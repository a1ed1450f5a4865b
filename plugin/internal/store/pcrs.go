// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/tpmwire"
)

// A state is stored as one line, tpm2-tools' selection with a digest behind
// each PCR: sha256:0=3d45…,1=9c12…+sha384:0=….

// formatPCRs writes values, which are sorted by bank and index.
func formatPCRs(values []endorsements.PCRValue) string {
	var b strings.Builder
	for i, v := range values {
		switch {
		case i == 0:
			b.WriteString(tpmwire.HashName(v.Bank) + ":")
		case v.Bank != values[i-1].Bank:
			b.WriteString("+" + tpmwire.HashName(v.Bank) + ":")
		default:
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(v.Index) + "=")
		b.WriteString(hex.EncodeToString(v.Digest))
	}
	return b.String()
}

// parsePCRs reads what formatPCRs writes. Whether the values make a state is
// for endorsements.NewReferenceState to say.
func parsePCRs(s string) ([]endorsements.PCRValue, error) {
	values := make([]endorsements.PCRValue, 0, 1+strings.Count(s, ",")+strings.Count(s, "+"))
	digests := make([]byte, 0, len(s)/2) // holds all of them
	for part := range strings.SplitSeq(s, "+") {
		name, list, ok := strings.Cut(part, ":")
		if !ok {
			return nil, fmt.Errorf("PCRs %.20q have no bank", part)
		}
		bank, err := tpmwire.ParseHash(name)
		if err != nil {
			return nil, fmt.Errorf("PCR bank: %w", err)
		}
		for item := range strings.SplitSeq(list, ",") {
			number, digest, ok := strings.Cut(item, "=")
			index, err := strconv.ParseUint(number, 10, 5)
			if !ok || err != nil {
				return nil, fmt.Errorf("PCR %.20q of bank %s is not index=digest", item, name)
			}
			start := len(digests)
			if digests, err = hex.AppendDecode(digests, []byte(digest)); err != nil {
				return nil, fmt.Errorf("PCR %d of bank %s: %w", index, name, err)
			}
			values = append(values, endorsements.PCRValue{
				PCR: endorsements.PCR{Bank: bank, Index: int(index)}, Digest: digests[start:len(digests):len(digests)],
			})
		}
	}
	return values, nil
}
