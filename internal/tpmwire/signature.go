// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmwire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

const (
	maxECCParameter = 66             // TPM2B_ECC_PARAMETER: P-521
	maxRSASignature = MaxRSABits / 8 // TPM2B_PUBLIC_KEY_RSA
)

// ErrSignature means that the key did not make the signature.
var ErrSignature = errors.New("the signature does not verify under the attestation key")

// UnsupportedError means that an algorithm or key is not accepted, or does not
// fit the key that it is used with.
type UnsupportedError struct{ Reason string }

func (e *UnsupportedError) Error() string { return e.Reason }

func unsupported(format string, args ...any) error {
	return &UnsupportedError{fmt.Sprintf(format, args...)}
}

// Signature is a TPMT_SIGNATURE (Part 2, section 11.3.4) made with ECDSA,
// RSASSA or RSAPSS and an accepted hash. Its byte slices alias the input.
type Signature struct {
	Alg  tpm2.TPMAlgID
	Hash crypto.Hash
	// R and S are set for ECDSA.
	R, S []byte
	// RSA is set for RSASSA and RSAPSS.
	RSA []byte
}

// ParseSignature decodes a TPMT_SIGNATURE.
func ParseSignature(b []byte) (Signature, error) {
	r := reader{rest: b}
	s := Signature{Alg: tpm2.TPMAlgID(r.u16("sigAlg"))}
	if r.err != nil {
		return Signature{}, r.end("TPMT_SIGNATURE")
	}
	switch s.Alg {
	case tpm2.TPMAlgECDSA, tpm2.TPMAlgRSASSA, tpm2.TPMAlgRSAPSS:
	default:
		return Signature{}, unsupported("signature algorithm 0x%04x is not accepted: want ECDSA, RSASSA or RSAPSS", uint16(s.Alg))
	}
	hash := tpm2.TPMAlgID(r.u16("hash"))
	if s.Alg == tpm2.TPMAlgECDSA {
		s.R = r.sized(maxECCParameter, "signatureR")
		s.S = r.sized(maxECCParameter, "signatureS")
	} else {
		s.RSA = r.sized(maxRSASignature, "sig")
	}
	if err := r.end("TPMT_SIGNATURE"); err != nil {
		return Signature{}, err
	}
	var err error
	if s.Hash, err = Hash(hash); err != nil {
		return Signature{}, unsupported("signature %v", err)
	}
	return s, nil
}

// Scheme is how the signature was made.
func (s Signature) Scheme() Scheme {
	hash, _ := HashAlg(s.Hash)
	return Scheme{Alg: s.Alg, Hash: hash}
}

// Verify checks the signature over msg. The key must be one that CheckKey
// accepts and fit the signature's algorithm and size, else the error is an
// *UnsupportedError; a signature that another key or another message made
// gives ErrSignature.
func (s Signature) Verify(key crypto.PublicKey, msg []byte) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	var buf [64]byte
	sum := Digest(buf[:0], s.Hash, msg)
	switch pub := key.(type) {
	case *ecdsa.PublicKey:
		if s.Alg != tpm2.TPMAlgECDSA {
			return unsupported("%s signature under an ECDSA key", s.Scheme())
		}
		size := (pub.Curve.Params().BitSize + 7) / 8
		if len(s.R) == 0 || len(s.R) > size || len(s.S) == 0 || len(s.S) > size {
			return unsupported("signature of %d and %d bytes under a %s key: want at most %d each",
				len(s.R), len(s.S), pub.Curve.Params().Name, size)
		}
		if !ecdsa.VerifyASN1(pub, sum, derSignature(s.R, s.S)) {
			return ErrSignature
		}
	case *rsa.PublicKey:
		if s.Alg == tpm2.TPMAlgECDSA {
			return unsupported("%s signature under an RSA key", s.Scheme())
		}
		if len(s.RSA) != pub.Size() {
			return unsupported("signature of %d bytes under an RSA key of %d", len(s.RSA), pub.Size())
		}
		var err error
		if s.Alg == tpm2.TPMAlgRSASSA {
			err = rsa.VerifyPKCS1v15(pub, s.Hash, sum, s.RSA)
		} else {
			// A TPM salts to the hash's length or to the longest that fits
			// (Part 1, annex B.7), so the length is taken from the signature.
			err = rsa.VerifyPSS(pub, s.Hash, sum, s.RSA, nil)
		}
		if err != nil {
			return ErrSignature
		}
	}
	return nil
}

// derSignature writes an ECDSA signature as Ecdsa-Sig-Value (RFC 3279, section
// 2.2.3). r and s are unsigned, at most maxECCParameter bytes long.
func derSignature(r, s []byte) []byte {
	const head = 3 // of a SEQUENCE whose length takes a second byte
	der := make([]byte, head, head+2*(3+maxECCParameter))
	der = derUnsigned(derUnsigned(der, r), s)
	length := len(der) - head
	if length <= 127 { // X.690, section 8.1.3.4
		der = der[1:]
		der[0] = 0x30
		der[1] = byte(length)
		return der
	}
	der[0], der[1], der[2] = 0x30, 0x81, byte(length)
	return der
}

// derUnsigned appends an INTEGER in its shortest form (X.690, section 8.3).
func derUnsigned(der, n []byte) []byte {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	pad := len(n) == 0 || n[0] > 127
	size := len(n)
	if pad {
		size++
	}
	der = append(der, 0x02, byte(size))
	if pad {
		der = append(der, 0)
	}
	return append(der, n...)
}
