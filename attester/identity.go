// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"context"
	"crypto"
	"fmt"
)

// AK is an attestation key: fixed to its TPM, made in it, and restricted to
// signing what the TPM itself made. CreateAK makes one.
type AK struct{ key *Key }

// TIK is a TLS identity key: fixed to its TPM, made in it, able to sign and to
// do nothing else. CreateTIK makes one.
type TIK struct{ key *Key }

// CreateAK makes an attestation key. An algorithm that the TPM lacks is
// [ErrUnsupportedAlgorithm].
func (t *TPM) CreateAK(ctx context.Context, alg KeyAlg) (*AK, error) {
	k, err := t.createSigner(ctx, alg, true)
	if err != nil {
		return nil, fmt.Errorf("creating an attestation key: %w", err)
	}
	return &AK{key: k}, nil
}

// CreateTIK makes a TLS identity key. An algorithm that the TPM lacks is
// [ErrUnsupportedAlgorithm].
func (t *TPM) CreateTIK(ctx context.Context, alg KeyAlg) (*TIK, error) {
	k, err := t.createSigner(ctx, alg, false)
	if err != nil {
		return nil, fmt.Errorf("creating a TLS identity key: %w", err)
	}
	return &TIK{key: k}, nil
}

func (t *TPM) createSigner(ctx context.Context, alg KeyAlg, restricted bool) (*Key, error) {
	template, err := alg.Template()
	if err != nil {
		return nil, err
	}
	template.ObjectAttributes.Restricted = restricted
	return run(ctx, t, func(o *operation) (*Key, error) {
		if err := alg.supported(o); err != nil {
			return nil, err
		}
		return o.create(nil, template)
	})
}

// Public is the public key: an *ecdsa.PublicKey or an *rsa.PublicKey.
func (a *AK) Public() crypto.PublicKey { return a.key.Public() }

// KID is the UEID that names the AK in evidence and endorsements.
func (a *AK) KID() []byte { return a.key.KID() }

// PEM is the public key as PEM SubjectPublicKeyInfo, as it is provisioned.
func (a *AK) PEM() string { return a.key.PEM() }

// Key is the AK as a key.
func (a *AK) Key() *Key {
	if a == nil {
		return nil
	}
	return a.key
}

// Public is the public key: an *ecdsa.PublicKey or an *rsa.PublicKey.
func (i *TIK) Public() crypto.PublicKey { return i.key.Public() }

// PubArea is the key's TPMT_PUBLIC.
func (i *TIK) PubArea() []byte { return i.key.PubArea() }

// Key is the TIK as a key.
func (i *TIK) Key() *Key {
	if i == nil {
		return nil
	}
	return i.key
}
