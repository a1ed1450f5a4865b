// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
)

// The sections that ask for what the vectors test.
const (
	specBundle     = "CCC-Attestation/attested-tls-poc, doc/parsec-evidence-tpm.md"
	specKAT        = "CCC-Attestation/attested-tls-poc, doc/format-definitions/parsec-key-evidence-tpm.md"
	specPAT        = "CCC-Attestation/attested-tls-poc, doc/format-definitions/parsec-platform-evidence-tpm.md"
	specFreshness  = "RFC 9334, 10.2 (nonces); TPM 2.0 Part 2, 10.12.12 (TPMS_ATTEST: extraData)"
	specUEID       = "RFC 9711, 4.2.1 (UEID)"
	specAnchor     = "RFC 9334, 7.4 (trust in the attester's key comes from its endorser)"
	specSignature  = "TPM 2.0 Part 2, 11.3.4 (TPMT_SIGNATURE)"
	specSHA1       = "NIST SP 800-131A Rev. 2, 9 (SHA-1)"
	specAttest     = "TPM 2.0 Part 2, 10.12.12 (TPMS_ATTEST)"
	specPublic     = "TPM 2.0 Part 2, 12.2.4 (TPMT_PUBLIC)"
	specName       = "TPM 2.0 Part 1, 16 (Names); Part 2, 10.12.3 (TPMS_CERTIFY_INFO)"
	specAttributes = "TPM 2.0 Part 2, 8.3.2 (TPMA_OBJECT)"
	specSelection  = "TPM 2.0 Part 2, 10.9.7 (TPML_PCR_SELECTION)"
	specPCRs       = "TPM 2.0 Part 1, 17.6 (the digest of selected PCRs); Part 3, TPM2_Quote"
	specStates     = "draft-ietf-rats-corim-11, 5.1.5 (reference values triple)"
	specKeys       = "draft-ietf-rats-corim-11, 5.1.10 (attest key triple)"
	specKey        = "draft-ietf-rats-corim-11, 5.1.4.5 (crypto keys)"
	specDigest     = "draft-ietf-rats-corim-11, 7.7 (digests)"
	specCorim      = "draft-ietf-rats-corim-11, 4.1 (corim-map)"
	specValidity   = "draft-ietf-rats-corim-11, 7.3 (validity)"
	specEnv        = "draft-ietf-rats-corim-11, 5.1.4.1 (environment)"
	specDuplicate  = "RFC 8949, 5.6 (duplicate keys)"
	specLeftOver   = "RFC 8949, appendix F (too much data)"
	specTooLittle  = "RFC 8949, appendix F (too little data)"
	specIndefinite = "RFC 8949, 4.2.1 (no indefinite lengths)"
)

// allCases are the vectors that there are.
func allCases(ctx context.Context, l *lab) ([]vectorCase, error) {
	keys, err := keyCases(ctx, l)
	if err != nil {
		return nil, err
	}
	return slices.Concat(keys, goodCases(),
		freshnessCases(), signatureCases(), structureCases(), bundleCases(),
		identityKeyCases(), platformCases(), endorsementCases()), nil
}
