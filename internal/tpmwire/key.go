// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmwire

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"strconv"
	"sync"

	"github.com/google/go-tpm/tpm2"
)

// RSA key sizes that are accepted, in bits.
const (
	MinRSABits = 2048
	MaxRSABits = 4096
)

// CheckKey accepts ECDSA keys on P-256, P-384 and P-521 and RSA keys of 2048
// to 4096 bits with an odd exponent of at least 3; any other gives an
// *UnsupportedError.
func CheckKey(key crypto.PublicKey) error {
	switch pub := key.(type) {
	case *ecdsa.PublicKey:
		if pub == nil || pub.Curve == nil {
			return unsupported("empty ECDSA key")
		}
		if name := pub.Curve.Params().Name; name != "P-256" && name != "P-384" && name != "P-521" {
			return unsupported("ECDSA key on %s: want P-256, P-384 or P-521", name)
		}
	case *rsa.PublicKey:
		if pub == nil || pub.N == nil {
			return unsupported("empty RSA key")
		}
		if n := pub.N.BitLen(); n < MinRSABits || n > MaxRSABits {
			return unsupported("RSA key of %d bits: want %d to %d", n, MinRSABits, MaxRSABits)
		}
		if pub.E < 3 || pub.E&1 == 0 || pub.E > 1<<31-1 {
			return unsupported("RSA exponent %d is not accepted", pub.E)
		}
	default:
		return unsupported("key of type %T: want ECDSA or RSA", key)
	}
	return nil
}

// curve is an elliptic curve that is accepted.
type curve struct {
	name, keyType string
	size          int        // of a coordinate, in bytes
	ecdh          ecdh.Curve // knows which points are on it
	// spki is all of a SubjectPublicKeyInfo that comes before the point. It
	// is the same for every key of a curve, and putting it together anew
	// would cost more than verifying where the point lies.
	spki []byte
}

var curves = sync.OnceValues(func() (map[tpm2.TPMECCCurve]curve, error) {
	m := make(map[tpm2.TPMECCCurve]curve)
	for _, c := range []struct {
		id   tpm2.TPMECCCurve
		name string
		size int
		ecdh ecdh.Curve
		spki string // RFC 5480, section 2
	}{
		{tpm2.TPMECCNistP256, "P-256", 32, ecdh.P256(), "3059301306072a8648ce3d020106082a8648ce3d030107034200"},
		{tpm2.TPMECCNistP384, "P-384", 48, ecdh.P384(), "3076301006072a8648ce3d020106052b81040022036200"},
		{tpm2.TPMECCNistP521, "P-521", 66, ecdh.P521(), "30819b301006072a8648ce3d020106052b8104002303818600"},
	} {
		prefix, err := hex.DecodeString(c.spki)
		if err != nil {
			return nil, fmt.Errorf("SubjectPublicKeyInfo of %s: %w", c.name, err)
		}
		m[c.id] = curve{name: c.name, keyType: "ECDSA " + c.name, size: c.size, ecdh: c.ecdh, spki: prefix}
	}
	return m, nil
})

// eccKey checks that a point is on an accepted curve and returns its
// SubjectPublicKeyInfo and the key's type.
func eccKey(id tpm2.TPMECCCurve, x, y []byte) (spki []byte, keyType string, err error) {
	known, err := curves()
	if err != nil {
		return nil, "", err
	}
	c, ok := known[id]
	if !ok {
		return nil, "", unsupported("ECC curve 0x%04x is not accepted: want P-256, P-384 or P-521", uint16(id))
	}
	if len(x) > c.size || len(y) > c.size {
		return nil, "", unsupported("ECC point of %d and %d bytes on %s: want at most %d each", len(x), len(y), c.name, c.size)
	}
	// SEC 1, section 2.3.3. TPMs may strip leading zeros; it wants them back.
	spki = make([]byte, len(c.spki)+1+2*c.size)
	point := spki[copy(spki, c.spki):]
	point[0] = 4
	copy(point[1+c.size-len(x):], x)
	copy(point[1+2*c.size-len(y):], y)
	if _, err := c.ecdh.NewPublicKey(point); err != nil {
		return nil, "", unsupported("ECC point is not on %s", c.name)
	}
	return spki, c.keyType, nil
}

// CheckSPKI accepts the SubjectPublicKeyInfo of a key that CheckKey accepts. It
// does not ask again whether a point is on its curve.
func CheckSPKI(der []byte) error {
	known, err := curves()
	if err != nil {
		return err
	}
	for _, c := range known {
		if bytes.HasPrefix(der, c.spki) && len(der) == len(c.spki)+1+2*c.size {
			return nil
		}
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return err
	}
	return CheckKey(key)
}

// rsaKey checks that an RSA key is accepted and returns its
// SubjectPublicKeyInfo and type.
func rsaKey(bits uint16, exponent uint32, modulus []byte) (spki []byte, keyType string, err error) {
	// Part 2, section 12.2.3.5: an exponent of zero stands for 2^16 + 1.
	if exponent == 0 {
		exponent = 65537
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(exponent)}
	if err := CheckKey(key); err != nil {
		return nil, "", err
	}
	if key.N.BitLen() != int(bits) || len(modulus)*8 != int(bits) {
		return nil, "", unsupported("RSA modulus of %d bits in %d bytes, keyBits says %d", key.N.BitLen(), len(modulus), bits)
	}
	if spki, err = x509.MarshalPKIXPublicKey(key); err != nil {
		return nil, "", fmt.Errorf("encoding the RSA key: %w", err)
	}
	return spki, "RSA " + strconv.Itoa(int(bits)), nil
}
