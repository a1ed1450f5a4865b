// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tpmwire

import (
	"bytes"
	"crypto"
	"encoding/binary"

	"github.com/google/go-tpm/tpm2"
)

// Public is a TPMT_PUBLIC (Part 2, section 12.2.4) of a key that is accepted:
// ECC on P-256, P-384 or P-521, or RSA of 2048 to 4096 bits.
type Public struct {
	NameAlg    crypto.Hash
	Attributes Attributes
	// Scheme's Alg is TPM_ALG_NULL when the key is not tied to a scheme.
	Scheme Scheme
	// SPKI is the key as DER SubjectPublicKeyInfo (RFC 5280, section 4.1).
	SPKI []byte
	// KeyType names the key's kind and size, for people: "ECDSA P-256".
	KeyType string
}

// Attributes is a TPMA_OBJECT (Part 2, section 8.3.2).
type Attributes uint32

// The attributes that decide whether a key may leave its TPM and what it signs.
const (
	FixedTPM            Attributes = 1 << 1
	FixedParent         Attributes = 1 << 4
	SensitiveDataOrigin Attributes = 1 << 5
	Restricted          Attributes = 1 << 16
	Decrypt             Attributes = 1 << 17
	Sign                Attributes = 1 << 18
)

// ParsePublic decodes the TPMT_PUBLIC of an ECC or RSA key. A key or name
// algorithm that is not accepted gives an *UnsupportedError.
func ParsePublic(b []byte) (Public, error) {
	const structure = "TPMT_PUBLIC"
	r := reader{rest: b}
	typ := tpm2.TPMAlgID(r.u16("type"))
	nameAlg := tpm2.TPMAlgID(r.u16("nameAlg"))
	p := Public{Attributes: Attributes(r.u32("objectAttributes"))}
	r.sized(maxDigest, "authPolicy")
	if r.err != nil {
		return Public{}, r.end(structure)
	}
	var err error
	switch typ {
	case tpm2.TPMAlgECC:
		r.symmetric("parameters.symmetric")
		p.Scheme = r.eccScheme("parameters.scheme")
		curve := tpm2.TPMECCCurve(r.u16("parameters.curveID"))
		r.kdf("parameters.kdf")
		x := r.sized(maxECCParameter, "unique.x")
		y := r.sized(maxECCParameter, "unique.y")
		if err := r.end(structure); err != nil {
			return Public{}, err
		}
		p.SPKI, p.KeyType, err = eccKey(curve, x, y)
	case tpm2.TPMAlgRSA:
		r.symmetric("parameters.symmetric")
		p.Scheme = r.rsaScheme("parameters.scheme")
		bits := r.u16("parameters.keyBits")
		exponent := r.u32("parameters.exponent")
		modulus := r.sized(maxRSASignature, "unique")
		if err := r.end(structure); err != nil {
			return Public{}, err
		}
		p.SPKI, p.KeyType, err = rsaKey(bits, exponent, modulus)
	default:
		err = unsupported("object type 0x%04x is not accepted: want an ECC or RSA key", uint16(typ))
	}
	if err != nil {
		return Public{}, err
	}
	if p.NameAlg, err = Hash(nameAlg); err != nil {
		return Public{}, unsupported("name %v", err)
	}
	return p, nil
}

// Named reports whether name is the Name (Part 1, section 16) of the public
// area that was parsed into p.
func (p Public) Named(name, pubArea []byte) bool {
	alg, ok := HashAlg(p.NameAlg)
	if !ok {
		return false
	}
	var buf [maxName]byte
	want := binary.BigEndian.AppendUint16(buf[:0], uint16(alg))
	want = Digest(want, p.NameAlg, pubArea)
	return bytes.Equal(name, want)
}

// symmetric skips a TPMT_SYM_DEF_OBJECT (Part 2, section 11.1.7).
func (r *reader) symmetric(field string) {
	switch alg := tpm2.TPMAlgID(r.u16(field)); alg {
	case tpm2.TPMAlgNull:
	case tpm2.TPMAlgAES, tpm2.TPMAlgSM4, tpm2.TPMAlgCamellia, tpm2.TPMAlgTDES:
		r.u16(field)
		r.u16(field)
	default:
		r.fail("%s: algorithm 0x%04x is not a block cipher", field, uint16(alg))
	}
}

// eccScheme reads a TPMT_ECC_SCHEME (Part 2, section 11.2.5.6).
func (r *reader) eccScheme(field string) Scheme {
	s := Scheme{Alg: tpm2.TPMAlgID(r.u16(field))}
	switch s.Alg {
	case tpm2.TPMAlgNull:
	case tpm2.TPMAlgECDSA, tpm2.TPMAlgSM2, tpm2.TPMAlgECSchnorr, tpm2.TPMAlgECDH, tpm2.TPMAlgECMQV:
		s.Hash = tpm2.TPMAlgID(r.u16(field))
	case tpm2.TPMAlgECDAA:
		s.Hash = tpm2.TPMAlgID(r.u16(field))
		r.u16(field)
	default:
		r.fail("%s: algorithm 0x%04x is not an ECC scheme", field, uint16(s.Alg))
	}
	return s
}

// rsaScheme reads a TPMT_RSA_SCHEME (Part 2, section 11.2.4.2).
func (r *reader) rsaScheme(field string) Scheme {
	s := Scheme{Alg: tpm2.TPMAlgID(r.u16(field))}
	switch s.Alg {
	case tpm2.TPMAlgNull, tpm2.TPMAlgRSAES:
	case tpm2.TPMAlgRSASSA, tpm2.TPMAlgRSAPSS, tpm2.TPMAlgOAEP:
		s.Hash = tpm2.TPMAlgID(r.u16(field))
	default:
		r.fail("%s: algorithm 0x%04x is not an RSA scheme", field, uint16(s.Alg))
	}
	return s
}

// kdf skips a TPMT_KDF_SCHEME (Part 2, section 11.2.3.3).
func (r *reader) kdf(field string) {
	switch alg := tpm2.TPMAlgID(r.u16(field)); alg {
	case tpm2.TPMAlgNull:
	case tpm2.TPMAlgMGF1, tpm2.TPMAlgKDF1SP80056A, tpm2.TPMAlgKDF2, tpm2.TPMAlgKDF1SP800108:
		r.u16(field)
	default:
		r.fail("%s: algorithm 0x%04x is not a KDF", field, uint16(alg))
	}
}
