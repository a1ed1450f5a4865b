// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/veraison/eat"
)

// TrustAnchor is a provisioned attestation key (AK). Make it with [Decode] or
// [NewTrustAnchor] and read it only: its KID and Key are shared.
type TrustAnchor struct {
	// Class is the class-id of the environment, a UUID in canonical lower-case
	// text form.
	Class string
	// KID is the AK's key identifier, the instance of the environment.
	KID eat.UEID
	// Key is an *ecdsa.PublicKey on P-256, P-384 or P-521, or an
	// *rsa.PublicKey of 2048 to 4096 bits.
	Key crypto.PublicKey
	// PEM is the key as it was provisioned, byte for byte.
	PEM string
}

// NewTrustAnchor checks and combines the parts of a trust anchor: the class, a
// UUID in text form; the key identifier, a UEID (RFC 9711, 4.2.1); and the key,
// one PEM block PUBLIC KEY (RFC 7468, 13) with nothing before or after it. A
// fault is an [*Error] whose Field is "class", "kid" or "key".
func NewTrustAnchor(class string, kid []byte, pem string) (TrustAnchor, error) {
	canonical, err := canonicalClass(class)
	if err != nil {
		return TrustAnchor{}, inField("class", err)
	}
	ueid, err := checkKID(kid)
	if err != nil {
		return TrustAnchor{}, inField("kid", err)
	}
	key, err := parseKeyPEM(pem)
	if err != nil {
		return TrustAnchor{}, inField("key", err)
	}
	return TrustAnchor{Class: canonical, KID: ueid, Key: key, PEM: pem}, nil
}

// MarshalKeyPEM writes a public key as NewTrustAnchor reads it. It refuses
// what NewTrustAnchor would refuse.
func MarshalKeyPEM(key crypto.PublicKey) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fault("%w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})), nil
}

// checkKID returns a copy of a well-formed UEID.
func checkKID(kid []byte) (eat.UEID, error) {
	ueid := eat.UEID(bytes.Clone(kid))
	if err := ueid.Validate(); err != nil {
		return nil, fault("expected a UEID (RFC 9711, 4.2.1): %w", err)
	}
	return ueid, nil
}

const (
	pemType  = "PUBLIC KEY"
	pemBegin = "-----BEGIN "
)

// parseKeyPEM takes exactly one block. pem.Decode alone would pass over
// anything before the block, also over a block that it cannot read.
func parseKeyPEM(text string) (crypto.PublicKey, error) {
	const expected = "one PEM block PUBLIC KEY"
	if !strings.HasPrefix(text, pemBegin) {
		return nil, fault("expected %s, found something else at the start", expected)
	}
	if strings.Count(text, pemBegin) != 1 {
		return nil, fault("expected %s, found several blocks", expected)
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return nil, fault("expected %s, found a malformed block", expected)
	}
	if block.Type != pemType {
		return nil, fault("expected %s, found a block %s", expected, quote(block.Type))
	}
	if len(block.Headers) != 0 {
		return nil, fault("expected %s without headers", expected)
	}
	if len(rest) != 0 {
		return nil, fault("expected %s, found %d bytes after it", expected, len(rest))
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fault("expected a SubjectPublicKeyInfo: %w", err)
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	return key, nil
}

const (
	minRSABits     = 2048
	maxRSABits     = 4096
	minRSAExponent = 1<<16 + 1
)

// checkKey refuses keys that no accepted evidence can be signed with. That the
// point is on its curve is crypto/x509's to check, in both directions.
func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k == nil || k.Curve == nil {
			return fault("expected an ECDSA or RSA key, found none")
		}
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
		default:
			return fault("expected an ECDSA key on P-256, P-384 or P-521, found one on %s", k.Params().Name)
		}
		return nil
	case *rsa.PublicKey:
		if k == nil || k.N == nil {
			return fault("expected an ECDSA or RSA key, found none")
		}
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fault("expected an RSA key of %d to %d bits, found one of %d", minRSABits, maxRSABits, bits)
		}
		// FIPS 186-5, A.1.1; an even modulus or exponent is no RSA key.
		if k.E < minRSAExponent || k.E%2 == 0 || k.N.Bit(0) == 0 {
			return fault("expected an RSA key with odd modulus and odd exponent from %d, found exponent %d", minRSAExponent, k.E)
		}
		return nil
	}
	return fault("expected an ECDSA or RSA key, found %s", keyName(key))
}

func keyName(key crypto.PublicKey) string {
	if key == nil {
		return "none"
	}
	return fmt.Sprintf("%T", key)
}

// sameKey compares keys, not their spellings in PEM.
func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
