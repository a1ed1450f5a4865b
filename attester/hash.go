// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"crypto"
	_ "crypto/sha256" // the hashes that this package knows
	_ "crypto/sha512"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// hashes are the hashes that are accepted, by tpm2-tools' name. It is not
// modified.
var hashes = map[string]crypto.Hash{
	"sha256": crypto.SHA256,
	"sha384": crypto.SHA384,
	"sha512": crypto.SHA512,
}

// hashAlg is a hash's TPM_ALG_ID; ok is false for a hash that is not accepted.
func hashAlg(h crypto.Hash) (alg tpm2.TPMAlgID, ok bool) {
	switch h {
	case crypto.SHA256:
		return tpm2.TPMAlgSHA256, true
	case crypto.SHA384:
		return tpm2.TPMAlgSHA384, true
	case crypto.SHA512:
		return tpm2.TPMAlgSHA512, true
	default:
		return 0, false
	}
}

// hashName is tpm2-tools' name of a hash.
func hashName(h crypto.Hash) string {
	if h == crypto.SHA1 {
		return "sha1"
	}
	for name, other := range hashes {
		if h == other {
			return name
		}
	}
	return fmt.Sprintf("hash%d", uint(h))
}

// bankName is tpm2-tools' name of a PCR bank, or its number if it has none
// here.
func bankName(alg tpm2.TPMAlgID) string {
	h, err := alg.Hash()
	if err != nil {
		return fmt.Sprintf("0x%04x", uint16(alg))
	}
	return hashName(h)
}
