// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// MaxSignedSize is the largest signed CoRIM that is read or written, in bytes:
// a CoRIM and 64 KiB for who signed it.
const MaxSignedSize = MaxCorimSize + 64<<10

// maxChain is the largest number of certificates in an x5chain.
const maxChain = 8

// ErrUnsigned says that a CoRIM is not signed where a signed one is read.
var ErrUnsigned = errors.New("the CoRIM is not signed; expected a COSE_Sign1 message (tag 18)")

// ContentTypes of the payload of a signed CoRIM. Earlier drafts had another one
// for DialectV1, which is read too.
const (
	contentType    = "application/rim+cbor"
	oldContentType = "application/corim-unsigned+cbor"
)

// UnverifiedSigned is a signed CoRIM whose signature nobody has looked at: every
// field says what anybody can have written. Package endorsements/signed verifies
// it.
type UnverifiedSigned struct {
	// Algorithm is a COSE algorithm: -7 (ES256), -35 (ES384), -36 (ES512) or -8
	// (EdDSA).
	Algorithm int64
	// ContentType is that of the payload.
	ContentType string
	// KeyID names the key for those who know it, if at all.
	KeyID []byte
	// Chain is the signer's certificate and those that lead to a root, each in
	// DER (RFC 9360, 2, x5chain). It may be empty.
	Chain [][]byte
	// Signer is who says to have signed.
	Signer Signer
	// NotBefore and NotAfter bound the signature's validity, to the second and
	// inclusively. They are zero where there is no such bound.
	NotBefore, NotAfter time.Time
	// Subject is the CoRIM's identifier as the CWT claims have it, or empty.
	Subject string
	// Payload is the unsigned CoRIM. It is a part of the input.
	Payload []byte
	// Message is the COSE_Sign1 message without older tags around it, which is a
	// part of the input too.
	Message []byte
}

// Signer is the organisation that signed a CoRIM (draft-ietf-rats-corim-11,
// 4.2.3.1).
type Signer struct {
	Name string
	// URI identifies the organisation, or is empty.
	URI string
}

// AlgorithmName is the name in the COSE registry, such as ES256.
func (u *UnverifiedSigned) AlgorithmName() string { return signatureAlgorithms[u.Algorithm] }

var signatureAlgorithms = map[int64]string{-7: "ES256", -35: "ES384", -36: "ES512", -8: "EdDSA"}

// ReadSigned reads a signed CoRIM (draft-ietf-rats-corim-11, 4.2) as strictly as
// Decode reads an unsigned one. It verifies nothing and leaves the payload alone:
// see [UnverifiedSigned.Corim]. A fault is an [*Error], which wraps
// [ErrUnsigned] where the CoRIM is not signed.
//
// The header parameters that decide something must be protected and in the
// message; none that is not understood is passed over.
func ReadSigned(data []byte) (*UnverifiedSigned, error) {
	if len(data) == 0 {
		return nil, fault("no data; expected a signed CoRIM")
	}
	if len(data) > MaxSignedSize {
		return nil, fault("%d bytes; expected at most %d", len(data), MaxSignedSize)
	}
	if err := checkWellFormed(data); err != nil {
		return nil, err
	}
	if !signed(data) {
		return nil, fault("%w", ErrUnsigned)
	}
	// tagged-corim-type-choice and tagged-signed-corim, up to
	// draft-ietf-rats-corim-06.
	data, _ = bytes.CutPrefix(data, []byte{0xd9, 0x01, 0xf4, 0xd9, 0x01, 0xf6})
	r := reader{data}
	if err := r.tag(tagCOSESign1, "a COSE_Sign1 message (tag 18)"); err != nil {
		return nil, err
	}
	if err := r.record(4, "a COSE_Sign1 message, an array of four"); err != nil {
		return nil, err
	}
	u := &UnverifiedSigned{Message: data}
	protected, err := r.bytes("a byte string that holds the protected header")
	if err == nil {
		err = u.readProtected(protected)
	}
	if err != nil {
		return nil, inField("protected", err)
	}
	if err := readUnprotected(&r); err != nil {
		return nil, inField("unprotected", err)
	}
	if u.Payload, err = r.bytes("a byte string that holds the CoRIM; a payload elsewhere is not supported"); err != nil {
		return nil, inField("payload", err)
	}
	before := r
	signature, err := r.bytes("a byte string")
	if err == nil && len(signature) != signatureSizes[u.Algorithm] {
		err = fault("expected the %d bytes of %s, found %s", signatureSizes[u.Algorithm], u.AlgorithmName(), before.next())
	}
	if err != nil {
		return nil, inField("signature", err)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return u, nil
}

// signatureSizes in bytes (RFC 9053, 2.1 and 2.2).
var signatureSizes = map[int64]int{-7: 64, -35: 96, -36: 132, -8: 64}

// COSE header parameters: of RFC 9052, 3.1, of draft-ietf-rats-corim-11, 4.2.1,
// of RFC 9597, 2, and of RFC 9360, 2.
const (
	headerAlg         = 1
	headerCrit        = 2
	headerContentType = 3
	headerKID         = 4
	headerMeta        = 8
	headerCWT         = 15
	headerX5Chain     = 33
)

var protectedFields = []string{
	headerAlg:         "alg",
	headerCrit:        "crit",
	headerContentType: "content-type",
	headerKID:         "kid",
	headerMeta:        "corim-meta",
	headerCWT:         "cwt-claims",
	headerX5Chain:     "x5chain",
}

func (u *UnverifiedSigned) readProtected(data []byte) error {
	if err := checkWellFormed(data); err != nil {
		return err
	}
	var meta, cwt identity
	var critical []uint64
	r := reader{data}
	seen, err := r.fields("a header map", protectedFields, func(key int) (err error) {
		switch key {
		case headerAlg:
			u.Algorithm, err = readSignatureAlgorithm(&r)
		case headerCrit:
			critical, err = readCritical(&r)
		case headerContentType:
			u.ContentType, err = r.text("a text string, " + contentType)
		case headerKID:
			u.KeyID, err = r.bytes("a byte string")
		case headerMeta:
			meta, err = readMeta(&r)
		case headerCWT:
			cwt, err = readCWT(&r)
		default:
			u.Chain, err = readChain(&r)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := r.end(); err != nil {
		return err
	}
	for _, key := range []int{headerAlg, headerContentType} {
		if !seen.has(key) {
			return inField(protectedFields[key], fault("missing"))
		}
	}
	// A signer does not ask for a parameter that is not there (RFC 9052, 3.1).
	for i, label := range critical {
		if label >= uint64(len(protectedFields)) || !seen.has(int(label)) {
			return inField("crit", inElement(i, fault("parameter %d is not there, or not understood", label)))
		}
	}
	if u.ContentType != contentType && u.ContentType != oldContentType {
		return inField("content-type", fault("expected %s, found %s", contentType, quote(u.ContentType)))
	}
	switch {
	case !seen.has(headerMeta) && !seen.has(headerCWT):
		return inField("corim-meta", fault("missing; expected who signed, here or in cwt-claims"))
	case !seen.has(headerMeta):
		meta = cwt
	case seen.has(headerCWT):
		// They "MUST ensure that their contents are semantically identical"
		// (draft-ietf-rats-corim-11, 4.2.1).
		if meta.signer.Name != cwt.signer.Name || !meta.notBefore.Equal(cwt.notBefore) || !meta.notAfter.Equal(cwt.notAfter) {
			return inField("cwt-claims", fault("expected the signer and the validity that corim-meta has, found others"))
		}
	}
	u.Signer, u.NotBefore, u.NotAfter, u.Subject = meta.signer, meta.notBefore, meta.notAfter, cwt.subject
	return nil
}

// readUnprotected takes nothing but a key identifier, which is a hint, and
// leaves it behind: what it says is not signed.
func readUnprotected(r *reader) error {
	_, err := r.fields("a header map", []string{headerKID: "kid"}, func(int) error {
		_, err := r.bytes("a byte string")
		return err
	})
	return err
}

func readSignatureAlgorithm(r *reader) (int64, error) {
	const expected = "ES256 (-7), ES384 (-35), ES512 (-36) or EdDSA (-8)"
	before := *r
	alg, err := r.integer(expected)
	if err != nil {
		return 0, err
	}
	if signatureAlgorithms[alg] == "" {
		if alg < 0 {
			return 0, fault("expected %s, found %d", expected, alg)
		}
		return 0, fault("expected %s, found %s", expected, before.next())
	}
	return alg, nil
}

func readCritical(r *reader) (labels []uint64, err error) {
	err = r.list("an array of header parameters", func(i int) error {
		label, err := r.uint("a header parameter that is understood")
		if err != nil {
			return inElement(i, err)
		}
		labels = append(labels, label)
		return nil
	})
	return labels, err
}

// readChain reads an x5chain: one certificate, or an array of two or more.
func readChain(r *reader) (chain [][]byte, err error) {
	const expected = "a certificate, or an array of two or more"
	if !r.at(majorArray) {
		der, err := r.bytes(expected)
		return [][]byte{der}, err
	}
	before := *r
	err = r.list(expected, func(i int) error {
		if i == maxChain {
			return fault("expected at most %d certificates, found %s", maxChain, before.next())
		}
		der, err := r.bytes("a certificate")
		if err != nil {
			return inElement(i, err)
		}
		chain = append(chain, der)
		return nil
	})
	if err == nil && len(chain) < 2 {
		err = fault("expected %s, found %s", expected, before.next())
	}
	return chain, err
}

// identity is who signed and for how long.
type identity struct {
	signer              Signer
	notBefore, notAfter time.Time
	subject             string
}

// readMeta reads a corim-meta-map in a byte string (draft-ietf-rats-corim-11,
// 4.2.3).
func readMeta(r *reader) (id identity, err error) {
	data, err := r.bytes("a byte string that holds a corim-meta map")
	if err != nil {
		return id, err
	}
	if err := checkWellFormed(data); err != nil {
		return id, err
	}
	inner := reader{data}
	seen, err := inner.fields("a corim-meta map", []string{"signer", "signature-validity"}, func(key int) (err error) {
		if key == 0 {
			id.signer, err = readSigner(&inner)
			return err
		}
		id.notBefore, id.notAfter, err = readValidity(&inner)
		return err
	})
	if err != nil {
		return id, err
	}
	if !seen.has(0) {
		return id, inField("signer", fault("missing"))
	}
	return id, inner.end()
}

func readSigner(r *reader) (s Signer, err error) {
	seen, err := r.fields("a signer map", []string{"signer-name", "signer-uri"}, func(key int) (err error) {
		if key == 0 {
			s.Name, err = r.text("a text string")
			return err
		}
		s.URI, err = readURI(r)
		return err
	})
	if err == nil && (!seen.has(0) || s.Name == "") {
		err = inField("signer-name", fault("missing; expected the name of an organisation"))
	}
	return s, err
}

// cwtFields are claims of draft-ietf-rats-corim-11, 4.2.2. Others would say
// something that is not checked.
var cwtFields = []string{1: "iss", 2: "sub", 4: "exp", 5: "nbf"}

func readCWT(r *reader) (id identity, err error) {
	seen, err := r.fields("a map of claims", cwtFields, func(key int) (err error) {
		switch key {
		case 1:
			id.signer.Name, err = r.text("a text string")
		case 2:
			id.subject, err = r.text("a text string")
		case 4:
			id.notAfter, err = readNumericDate(r)
		default:
			id.notBefore, err = readNumericDate(r)
		}
		return err
	})
	if err != nil {
		return id, err
	}
	if !seen.has(1) || id.signer.Name == "" {
		return id, inField("iss", fault("missing; expected the name of an organisation"))
	}
	if seen.has(4) && seen.has(5) {
		return id, checkPeriod(id.notBefore, id.notAfter)
	}
	return id, nil
}

// readNumericDate reads seconds since 1970 without a tag (RFC 8392, 2).
func readNumericDate(r *reader) (time.Time, error) {
	const expected = "whole seconds since 1970"
	before := *r
	seconds, err := r.uint(expected)
	if err != nil {
		return time.Time{}, err
	}
	if seconds > maxTime {
		return time.Time{}, fault("expected %s until the year 9999, found %s", expected, before.next())
	}
	return time.Unix(int64(seconds), 0).UTC(), nil
}

// Corim decodes the payload. What it returns is as unverified as u is.
func (u *UnverifiedSigned) Corim() (*Corim, error) {
	c, err := Decode(u.Payload)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if c.Dialect != DialectV1 && u.ContentType != contentType {
		return nil, inField("protected.content-type", fault("expected %s for a CoRIM in dialect %s, found %s", contentType, c.Dialect, u.ContentType))
	}
	if u.Subject != "" && u.Subject != c.ID {
		return nil, inField("protected.cwt-claims.sub", fault("expected the identifier of the CoRIM, %s, found %s", quote(c.ID), quote(u.Subject)))
	}
	return c, nil
}

// CheckValidity refuses a signature outside its period of validity with
// [ErrExpired] or [ErrNotYetValid]. The CoRIM has a period of its own.
func (u *UnverifiedSigned) CheckValidity(now time.Time) error {
	signature := Corim{NotBefore: u.NotBefore, NotAfter: u.NotAfter}
	if err := signature.CheckValidity(now); err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	return nil
}

// ProtectedHeader writes the protected header for a CoRIM that is about to be
// signed, of u's Algorithm, KeyID, Chain, Signer, NotBefore and NotAfter. The
// same fields give the same bytes. What ReadSigned would refuse is refused.
func (u *UnverifiedSigned) ProtectedHeader() ([]byte, error) {
	header := wireHeader{Algorithm: u.Algorithm, ContentType: contentType, KeyID: u.KeyID}
	meta := wireMeta{Signer: wireSigner{Name: u.Signer.Name}}
	if u.Signer.URI != "" {
		meta.Signer.URI = uriTag(u.Signer.URI)
	}
	validity := Corim{NotBefore: u.NotBefore, NotAfter: u.NotAfter}
	var err error
	if meta.Validity, err = validity.wireValidity(); err != nil {
		return nil, inField("validity", err)
	}
	if header.Meta, err = marshal(meta); err != nil {
		return nil, err
	}
	switch len(u.Chain) {
	case 0:
	case 1:
		header.Chain = u.Chain[0]
	default:
		header.Chain = slices.Clone(u.Chain)
	}
	data, err := marshal(header)
	if err != nil {
		return nil, err
	}
	if err := new(UnverifiedSigned).readProtected(data); err != nil {
		return nil, inField("protected", err)
	}
	return data, nil
}
