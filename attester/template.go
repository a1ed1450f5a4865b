// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import "github.com/google/go-tpm/tpm2"

// storageRootTemplate is the TCG's template H-2 (EK Credential Profile,
// section B.4.5) as an SRK: ECC P-256 with empty unique fields. It is the
// parent that the TSS2 key file format prescribes below the owner hierarchy,
// so OpenSSL's provider and tpm2-tools find the same one.
func storageRootTemplate() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgECC,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM:            true,
			FixedParent:         true,
			SensitiveDataOrigin: true,
			UserWithAuth:        true,
			NoDA:                true,
			Restricted:          true,
			Decrypt:             true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: tpm2.TPMTSymDefObject{
				Algorithm: tpm2.TPMAlgAES,
				KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(128)),
				Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
			},
			CurveID: tpm2.TPMECCNistP256,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{}),
	}
}

// Template is the public template (a TPMT_PUBLIC) of a TIK: a signing key that
// was made in its TPM and cannot leave it. It is the start for templates of
// other keys.
func (a KeyAlg) Template() (tpm2.TPMTPublic, error) {
	if err := a.check(); err != nil {
		return tpm2.TPMTPublic{}, err
	}
	typ, parameters := a.parameters()
	return tpm2.TPMTPublic{
		Type:    typ,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM:            true,
			FixedParent:         true,
			SensitiveDataOrigin: true,
			UserWithAuth:        true,
			// There is no password to guess, and the TPM's lockout because
			// someone guessed another's must not stop this key.
			NoDA:        true,
			SignEncrypt: true,
		},
		Parameters: parameters,
	}, nil
}
