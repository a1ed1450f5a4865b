// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmwire

import (
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// GeneratedValue is TPM_GENERATED_VALUE (Part 2, section 6.2): the magic of
// every structure that a TPM made itself.
const GeneratedValue = 0xff544347

// Limits of TPMS_ATTEST's parts, in bytes or entries. They are those of a TPM
// whose largest digest is SHA-512.
const (
	maxName      = 2 + 64 // TPM2B_NAME: algorithm and digest
	maxExtraData = 2 + 64 // TPM2B_DATA: sizeof(TPMT_HA)
	maxDigest    = 64     // TPM2B_DIGEST
	maxBanks     = 16     // TPML_PCR_SELECTION: HASH_COUNT
	maxSelect    = 4      // TPMS_PCR_SELECTION: 32 PCRs
)

// Attest is a TPMS_ATTEST (Part 2, section 10.12.12) of one of the two types
// that evidence carries. Its byte slices alias the input.
type Attest struct {
	Magic           uint32
	Type            tpm2.TPMST
	QualifiedSigner []byte
	ExtraData       []byte
	Clock           Clock
	FirmwareVersion uint64
	// CertifiedName and QualifiedName are set for TPM_ST_ATTEST_CERTIFY.
	CertifiedName []byte
	QualifiedName []byte
	// Selection and PCRDigest are set for TPM_ST_ATTEST_QUOTE.
	Selection Selection
	PCRDigest []byte
}

// Clock is a TPMS_CLOCK_INFO (Part 2, section 10.11.1).
type Clock struct {
	// Clock is in milliseconds.
	Clock        uint64
	ResetCount   uint32
	RestartCount uint32
	Safe         bool
}

// ParseAttest decodes a TPMS_ATTEST of type want. Its magic is returned, not
// judged. A structure of another type gives a *TypeError.
func ParseAttest(b []byte, want tpm2.TPMST) (Attest, error) {
	r := reader{rest: b}
	a := Attest{
		Magic: r.u32("magic"),
		Type:  tpm2.TPMST(r.u16("type")),
	}
	a.QualifiedSigner = r.sized(maxName, "qualifiedSigner")
	a.ExtraData = r.sized(maxExtraData, "extraData")
	a.Clock.Clock = r.u64("clockInfo.clock")
	a.Clock.ResetCount = r.u32("clockInfo.resetCount")
	a.Clock.RestartCount = r.u32("clockInfo.restartCount")
	switch safe := r.u8("clockInfo.safe"); safe {
	case 0, 1:
		a.Clock.Safe = safe == 1
	default:
		r.fail("clockInfo.safe: %d is neither YES (1) nor NO (0)", safe)
	}
	a.FirmwareVersion = r.u64("firmwareVersion")
	if r.err == nil && a.Type != want {
		return Attest{}, &TypeError{Got: a.Type, Want: want}
	}
	switch want {
	case tpm2.TPMSTAttestCertify:
		a.CertifiedName = r.sized(maxName, "attested.name")
		a.QualifiedName = r.sized(maxName, "attested.qualifiedName")
	case tpm2.TPMSTAttestQuote:
		a.Selection = r.selection()
		a.PCRDigest = r.sized(maxDigest, "attested.pcrDigest")
	default:
		r.fail("type 0x%04x: not one that evidence carries", uint16(want))
	}
	if err := r.end("TPMS_ATTEST"); err != nil {
		return Attest{}, err
	}
	return a, nil
}

func (r *reader) selection() Selection {
	n := r.u32("attested.pcrSelect.count")
	if r.err == nil && n > maxBanks {
		r.fail("attested.pcrSelect.count: %d banks, at most %d are allowed", n, maxBanks)
	}
	if r.err != nil {
		return nil
	}
	sel := make(Selection, 0, n)
	for range n {
		b := Bank{Alg: tpm2.TPMAlgID(r.u16("attested.pcrSelect.hash"))}
		size := int(r.u8("attested.pcrSelect.sizeofSelect"))
		if r.err == nil && size > maxSelect {
			r.fail("attested.pcrSelect.sizeofSelect: %d bytes, at most %d are allowed", size, maxSelect)
		}
		for i, octet := range r.take(size, "attested.pcrSelect.pcrSelect") {
			b.Mask |= uint32(octet) << (8 * i)
		}
		sel = append(sel, b)
	}
	return sel
}

// TypeError says that an attestation is of another type than was asked for.
type TypeError struct {
	Got, Want tpm2.TPMST
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("attestation type is 0x%04x, want 0x%04x", uint16(e.Got), uint16(e.Want))
}
