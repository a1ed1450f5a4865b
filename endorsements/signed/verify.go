// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package signed

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/veraison/attested-tls/endorsements"
)

// Policy says whom to believe. Its zero value believes nobody.
type Policy struct {
	// Keys may sign, each by itself: *ecdsa.PublicKey on P-256, P-384 or P-521,
	// or ed25519.PublicKey. A message need not say which of them signed it.
	Keys []crypto.PublicKey
	// Roots are those that the certificates in a message must lead to if none of
	// Keys signed it. Whoever can get a certificate for signing from them can
	// write CoRIMs.
	Roots *x509.CertPool
	// CurrentTime is when certificates, signatures and CoRIMs must be valid; zero
	// is the machine's clock.
	CurrentTime time.Time
}

// Verified is a CoRIM whose signer is trusted. Only Verify makes one.
type Verified struct {
	// Corim is within its validity.
	Corim *endorsements.Corim
	// Payload is the CoRIM as it was signed. It is a part of the message.
	Payload []byte
	// Signer is what the signer says to be.
	Signer endorsements.Signer
	// Key verified the signature.
	Key crypto.PublicKey
	// KeyID names the key as the signer does, if at all.
	KeyID []byte
	// Chain leads from the signer's certificate to a root of the policy. It is
	// nil if Key is a key of the policy.
	Chain []*x509.Certificate
	// NotBefore and NotAfter bound the signature's validity, if it is bounded.
	NotBefore, NotAfter time.Time
}

// ErrNoTrust says that a policy trusts nobody.
var ErrNoTrust = errors.New("nobody is trusted to sign CoRIMs: the policy has no keys and no roots")

// Verify reads a signed CoRIM and returns what is in it if, and only if, the
// policy trusts its signer and everything is valid at the policy's time. An
// unsigned CoRIM is [endorsements.ErrUnsigned], a signer who is not trusted
// [ErrUntrusted], a wrong signature [ErrSignature]; what is not valid yet or any
// more is [endorsements.ErrNotYetValid] or [endorsements.ErrExpired]. Other
// faults of the message are an [*endorsements.Error], which says where.
//
// If only keys are trusted, a wrong signature and a signer who is not trusted
// cannot be told apart, and are both ErrUntrusted.
func Verify(data []byte, p Policy) (*Verified, error) {
	if len(p.Keys) == 0 && p.Roots == nil {
		return nil, ErrNoTrust
	}
	for i, key := range p.Keys {
		if err := CheckKey(key); err != nil {
			return nil, fmt.Errorf("policy: keys[%d]: %w", i, err)
		}
	}
	if p.CurrentTime.IsZero() {
		p.CurrentTime = time.Now()
	}
	u, err := endorsements.ReadSigned(data)
	if err != nil {
		return nil, err
	}
	certs, err := parseChain(u.Chain)
	if err != nil {
		return nil, err
	}
	v := &Verified{Payload: u.Payload, Signer: u.Signer, KeyID: u.KeyID, NotBefore: u.NotBefore, NotAfter: u.NotAfter}
	if v.Key, v.Chain, err = p.authenticate(u, certs); err != nil {
		return nil, err
	}
	if err := u.CheckValidity(p.CurrentTime); err != nil {
		return nil, err
	}
	// Last: only what a trusted signer wrote is decoded.
	if v.Corim, err = u.Corim(); err != nil {
		return nil, err
	}
	if err := v.Corim.CheckValidity(p.CurrentTime); err != nil {
		return nil, err
	}
	return v, nil
}

// authenticate finds the trusted key that signed.
func (p *Policy) authenticate(u *endorsements.UnverifiedSigned, certs []*x509.Certificate) (crypto.PublicKey, []*x509.Certificate, error) {
	for _, key := range p.Keys {
		err := checkSignature(u, key)
		switch {
		case errors.Is(err, ErrSignature):
			continue
		case err != nil:
			return nil, nil, err
		case len(certs) > 0 && !sameKey(certs[0].PublicKey, key):
			return nil, nil, inChain(0, errors.New("expected the certificate of the key that signed, found another key's"))
		}
		return key, nil, nil
	}
	switch {
	case p.Roots == nil:
		return nil, nil, fmt.Errorf("%w: none of the trusted keys made this signature", ErrUntrusted)
	case len(certs) == 0:
		return nil, nil, fmt.Errorf("%w: none of the trusted keys made this signature, and there is no x5chain", ErrUntrusted)
	}
	chain, err := verifyChain(certs, p.Roots, p.CurrentTime)
	if err != nil {
		return nil, nil, err
	}
	if err := checkSignature(u, certs[0].PublicKey); err != nil {
		return nil, nil, err
	}
	return certs[0].PublicKey, chain, nil
}
