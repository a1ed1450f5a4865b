// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmwire

import (
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// Hash maps a TPM_ALG_ID to the hash that this project accepts for it. SHA-1
// and everything else but SHA-256, SHA-384 and SHA-512 is an error.
func Hash(alg tpm2.TPMAlgID) (crypto.Hash, error) {
	switch alg {
	case tpm2.TPMAlgSHA256:
		return crypto.SHA256, nil
	case tpm2.TPMAlgSHA384:
		return crypto.SHA384, nil
	case tpm2.TPMAlgSHA512:
		return crypto.SHA512, nil
	case tpm2.TPMAlgSHA1:
		return 0, fmt.Errorf("hash algorithm sha1 is not accepted: want sha256, sha384 or sha512")
	default:
		return 0, fmt.Errorf("hash algorithm 0x%04x is not accepted: want sha256, sha384 or sha512", uint16(alg))
	}
}

// HashAlg is the inverse of Hash; ok is false for a hash that is not accepted.
func HashAlg(h crypto.Hash) (alg tpm2.TPMAlgID, ok bool) {
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

// Digest appends the hash of b to dst.
func Digest(dst []byte, h crypto.Hash, b []byte) []byte {
	switch h {
	case crypto.SHA256:
		sum := sha256.Sum256(b)
		return append(dst, sum[:]...)
	case crypto.SHA384:
		sum := sha512.Sum384(b)
		return append(dst, sum[:]...)
	default:
		sum := sha512.Sum512(b)
		return append(dst, sum[:]...)
	}
}
