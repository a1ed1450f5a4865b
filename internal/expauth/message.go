// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// Handshake types (RFC 8446, section 4; RFC 9261, section 8.3).
const (
	typeCertificate              uint8 = 11
	typeCertificateRequest       uint8 = 13
	typeCertificateVerify        uint8 = 15
	typeClientCertificateRequest uint8 = 17
	typeFinished                 uint8 = 20
)

func messageName(typ uint8) string {
	switch typ {
	case typeCertificate:
		return "Certificate"
	case typeCertificateRequest:
		return "CertificateRequest"
	case typeCertificateVerify:
		return "CertificateVerify"
	case typeClientCertificateRequest:
		return "ClientCertificateRequest"
	case typeFinished:
		return "Finished"
	default:
		return fmt.Sprintf("handshake message %d", typ)
	}
}

// message is a handshake message (RFC 8446, section 4).
type message struct {
	typ  uint8
	raw  []byte // with its header
	body cryptobyte.String
}

// readMessage takes one message off s.
func readMessage(s *cryptobyte.String) (message, error) {
	start := *s
	var m message
	if !s.ReadUint8(&m.typ) {
		return m, errors.New("no handshake message left")
	}
	if !s.ReadUint24LengthPrefixed(&m.body) {
		return m, fmt.Errorf("%s is cut short", messageName(m.typ))
	}
	m.raw = start[:len(start)-len(*s)]
	return m, nil
}

// marshalMessage encodes a message.
func marshalMessage(typ uint8, body func(*cryptobyte.Builder)) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint8(typ)
	b.AddUint24LengthPrefixed(body)
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return out, nil
}

// addOpaque8, addOpaque16 and addOpaque24 add bytes and their length before
// them.
func addOpaque8(b *cryptobyte.Builder, data []byte) {
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(data) })
}

func addOpaque16(b *cryptobyte.Builder, data []byte) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(data) })
}

func addOpaque24(b *cryptobyte.Builder, data []byte) {
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(data) })
}
