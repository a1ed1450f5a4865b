// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package appraisal

import (
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/veraison/attested-tls/internal/tpmwire"
	"github.com/veraison/attested-tls/kat"
)

// What the attributes of a TLS identity key must and must not be (Part 2,
// section 8.3): made in the TPM, never to leave it, and free to sign what TLS
// asks for but nothing else. A restricted key is an attestation key, which
// must not certify itself; one that decrypts can be made a signing oracle.
const (
	mustBeSet   = tpmwire.FixedTPM | tpmwire.FixedParent | tpmwire.SensitiveDataOrigin | tpmwire.Sign
	mustBeClear = tpmwire.Restricted | tpmwire.Decrypt
)

// checkKey returns nil if and only if the certified key is one that a TLS peer
// may rely on to stay in its TPM.
func checkKey(k kat.Claims) error {
	missing, surplus := mustBeSet&^k.Attributes, mustBeClear&k.Attributes
	switch {
	case missing != 0:
		return fmt.Errorf("%w: %s is not set", ErrKeyAttributes, missing)
	case surplus != 0:
		return fmt.Errorf("%w: %s is set", ErrKeyAttributes, surplus)
	}
	switch k.Scheme.Alg {
	case tpm2.TPMAlgNull:
		return nil
	case tpm2.TPMAlgECDSA, tpm2.TPMAlgRSASSA, tpm2.TPMAlgRSAPSS:
		if _, err := tpmwire.Hash(k.Scheme.Hash); err != nil {
			return fmt.Errorf("%w: %w", ErrKeyScheme, err)
		}
		return nil
	default:
		return fmt.Errorf("%w: %s is not ecdsa, rsassa or rsapss", ErrKeyScheme, k.Scheme)
	}
}
