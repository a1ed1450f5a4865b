// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package seedwire has the structures that draft-fossati-tls-attestation puts
// into a TLS handshake, in its versions -02 and -07: EvidenceType,
// evidence_request, evidence_proposal, results_request and results_proposal,
// encoded as the drafts' presentation language says (RFC 8446, section 3).
//
// The drafts leave the extensions' numbers to IANA, which never gave any. Those
// used here are this project's own; so is the extension Unsupported, in which a
// server says what the draft's alert unsupported_evidence could not.
//
// Decoding is strict: what does not encode to the same bytes is refused.
package seedwire

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// Draft is a version of draft-fossati-tls-attestation. The zero value is none.
type Draft uint8

// The versions. -03 and later have the passport model and the credential kind.
const (
	Draft02 Draft = 2
	Draft07 Draft = 7
)

// String is the version's suffix.
func (d Draft) String() string { return fmt.Sprintf("-%02d", uint8(d)) }

func (d Draft) check() error {
	if d != Draft02 && d != Draft07 {
		return fmt.Errorf("draft %v is not known, want %v or %v", d, Draft02, Draft07)
	}
	return nil
}

// Encoding says how an EvidenceType is written: encodingType in -02,
// typeEncoding in -07, with the same values.
type Encoding uint8

// The encodings.
const (
	ContentFormat Encoding = 0
	MediaType     Encoding = 1
)

// CredentialKind is what a Certificate message holds (-07, section 5).
type CredentialKind uint8

// The kinds: evidence alone, or beside an X.509 certificate.
const (
	Attestation     CredentialKind = 0
	CertAttestation CredentialKind = 1
)

// String is the kind's name in the draft.
func (k CredentialKind) String() string {
	switch k {
	case Attestation:
		return "ATTESTATION"
	case CertAttestation:
		return "CERT_ATTESTATION"
	}
	return fmt.Sprintf("credential kind %d", uint8(k))
}

// EvidenceType names a type of evidence: by MediaType or by ContentFormat, as
// Encoding says. Kind is 0 in -02, which has none.
type EvidenceType struct {
	Kind          CredentialKind
	Encoding      Encoding
	ContentFormat uint16
	MediaType     string
}

// maxList is the size of a list of evidence types or verifiers, in bytes:
// <1..2^8-1> in both drafts.
const maxList = 255

// minNonce07 is the shortest nonce of -07; -02 has no limit.
const minNonce07 = 8

func (t EvidenceType) add(b *cryptobyte.Builder, d Draft) {
	switch {
	case d == Draft02 && t.Kind != 0:
		b.SetError(fmt.Errorf("%v has no credential kind", d))
	case t.Kind > CertAttestation:
		b.SetError(fmt.Errorf("unknown %v", t.Kind))
	case t.Encoding == ContentFormat && t.MediaType != "", t.Encoding == MediaType && t.ContentFormat != 0:
		b.SetError(errors.New("an evidence type is a media type or a content format, not both"))
	}
	if d == Draft07 {
		b.AddUint8(uint8(t.Kind))
	}
	b.AddUint8(uint8(t.Encoding))
	switch t.Encoding {
	case ContentFormat:
		b.AddUint16(t.ContentFormat)
	case MediaType:
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(t.MediaType)) })
	default:
		b.SetError(fmt.Errorf("unknown encoding %d of an evidence type", uint8(t.Encoding)))
	}
}

func readEvidenceType(s *cryptobyte.String, d Draft) (EvidenceType, error) {
	var t EvidenceType
	if d == Draft07 {
		if !s.ReadUint8((*uint8)(&t.Kind)) {
			return t, errShort
		}
		if t.Kind > CertAttestation {
			return t, fmt.Errorf("unknown %v", t.Kind)
		}
	}
	if !s.ReadUint8((*uint8)(&t.Encoding)) {
		return t, errShort
	}
	switch t.Encoding {
	case ContentFormat:
		if !s.ReadUint16(&t.ContentFormat) {
			return t, errShort
		}
	case MediaType:
		var media cryptobyte.String
		if !s.ReadUint16LengthPrefixed(&media) {
			return t, errShort
		}
		t.MediaType = string(media)
	default:
		return t, fmt.Errorf("unknown encoding %d of an evidence type", uint8(t.Encoding))
	}
	return t, nil
}

var errShort = errors.New("cut short")

// evidenceTypes reads the elements of a vector.
func evidenceTypes(list cryptobyte.String, d Draft) ([]EvidenceType, error) {
	var types []EvidenceType
	for i := 0; !list.Empty(); i++ {
		t, err := readEvidenceType(&list, d)
		if err != nil {
			return nil, fmt.Errorf("evidence type %d: %w", i, err)
		}
		types = append(types, t)
	}
	return types, nil
}

func addEvidenceTypes(b *cryptobyte.Builder, d Draft, types []EvidenceType) {
	for _, t := range types {
		t.add(b, d)
	}
}

// readIdentities reads the elements of a vector of VerifierIdentityType.
func readIdentities(list cryptobyte.String) ([]string, error) {
	var identities []string
	for i := 0; !list.Empty(); i++ {
		var identity cryptobyte.String
		if !list.ReadUint16LengthPrefixed(&identity) {
			return nil, fmt.Errorf("verifier %d: %w", i, errShort)
		}
		identities = append(identities, string(identity))
	}
	return identities, nil
}

func addIdentity(b *cryptobyte.Builder, identity string) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(identity)) })
}

func addIdentities(b *cryptobyte.Builder, identities []string) {
	for _, identity := range identities {
		addIdentity(b, identity)
	}
}

func addNonce(b *cryptobyte.Builder, d Draft, nonce []byte) {
	if err := checkNonce(d, len(nonce)); err != nil {
		b.SetError(err)
	}
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(nonce) })
}

func readNonce(s *cryptobyte.String, d Draft) ([]byte, error) {
	var nonce cryptobyte.String
	if !s.ReadUint8LengthPrefixed(&nonce) {
		return nil, fmt.Errorf("nonce: %w", errShort)
	}
	return nonce, checkNonce(d, len(nonce))
}

func checkNonce(d Draft, size int) error {
	if d == Draft07 && size < minNonce07 {
		return fmt.Errorf("a nonce of %d bytes, want at least %d", size, minNonce07)
	}
	return nil
}
