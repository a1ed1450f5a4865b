// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package tpmwire decodes the three TPM structures that evidence is made of:
// TPMS_ATTEST, TPMT_PUBLIC and TPMT_SIGNATURE (TPM 2.0 Library, Part 2).
//
// Every structure is consumed to its last byte, every length is checked before
// it is used, and algorithms that this project does not accept are refused by
// name. The decoders exist beside go-tpm's because that one ignores bytes left
// over after a structure and costs more than a signature verification; the
// tests hold the two against each other.
package tpmwire

import (
	"encoding/binary"
	"fmt"
)

// reader is a cursor over one marshalled structure. Its first failure sticks,
// so that a decoder can read a run of fields and ask once.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *reader) take(n int, field string) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.rest) {
		r.fail("%s: need %d bytes, have %d", field, n, len(r.rest))
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u8(field string) uint8 {
	if b := r.take(1, field); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16(field string) uint16 {
	if b := r.take(2, field); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32(field string) uint32 {
	if b := r.take(4, field); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64(field string) uint64 {
	if b := r.take(8, field); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// sized reads a TPM2B: a 16-bit length and that many bytes, at most max. The
// result aliases the input.
func (r *reader) sized(max int, field string) []byte {
	n := int(r.u16(field))
	if r.err == nil && n > max {
		r.fail("%s: %d bytes, at most %d are allowed", field, n, max)
	}
	return r.take(n, field)
}

// end reports the first failure, or the bytes left over.
func (r *reader) end(structure string) error {
	if r.err == nil && len(r.rest) != 0 {
		r.fail("%d bytes left over after the structure", len(r.rest))
	}
	if r.err != nil {
		return fmt.Errorf("%s: %w", structure, r.err)
	}
	return nil
}
