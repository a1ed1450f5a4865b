// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package signed

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"fmt"

	"github.com/veraison/go-cose"

	"github.com/veraison/attested-tls/endorsements"
)

// CheckKey refuses a public key that no signature is verified with.
func CheckKey(key crypto.PublicKey) error {
	_, err := algorithmOf(key)
	return err
}

// algorithmOf returns the one algorithm of a key (RFC 9053, 2.1 and 2.2).
func algorithmOf(key crypto.PublicKey) (cose.Algorithm, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k == nil || k.Curve == nil {
			break
		}
		switch k.Curve {
		case elliptic.P256():
			return cose.AlgorithmES256, nil
		case elliptic.P384():
			return cose.AlgorithmES384, nil
		case elliptic.P521():
			return cose.AlgorithmES512, nil
		}
		return 0, fmt.Errorf("expected an ECDSA key on P-256, P-384 or P-521, found one on %s", k.Params().Name)
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return cose.AlgorithmEdDSA, nil
		}
	}
	return 0, fmt.Errorf("expected an ECDSA or Ed25519 key, found %T", key)
}

// ErrSignature says that a signature does not match the signer's key: the
// message was altered, or another key signed it.
var ErrSignature = errors.New("the signature does not match the key")

// checkSignature verifies the signature with a key whose algorithm is the
// message's.
func checkSignature(u *endorsements.UnverifiedSigned, key crypto.PublicKey) error {
	alg, err := algorithmOf(key)
	if err != nil {
		return err
	}
	if int64(alg) != u.Algorithm {
		return fmt.Errorf("%w: the key is for %s, the message for %s", ErrSignature, alg, u.AlgorithmName())
	}
	m := cose.NewSign1Message()
	if err := m.UnmarshalCBOR(u.Message); err != nil {
		return fmt.Errorf("COSE_Sign1: %w", err)
	}
	// What is decoded must be what was verified, if two readers ever differ.
	if !bytes.Equal(m.Payload, u.Payload) {
		return errors.New("COSE_Sign1: ambiguous payload")
	}
	verifier, err := cose.NewVerifier(alg, key)
	if err != nil {
		return fmt.Errorf("COSE_Sign1: %w", err)
	}
	if err := m.Verify(nil, verifier); err != nil {
		if errors.Is(err, cose.ErrVerification) {
			return ErrSignature
		}
		return fmt.Errorf("COSE_Sign1: %w", err)
	}
	return nil
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
