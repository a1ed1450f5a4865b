// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package frame

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
)

// HelloBody is what a side says of itself (docs/PROTOCOL.md, section 5).
type HelloBody struct {
	// Framed asks for application data in frames, too.
	Framed bool
	// Shows are the ways in which this side can attest, Accepts those that it
	// demands one of, the best first.
	Shows, Accepts []Way
	// Key is the DER SubjectPublicKeyInfo of the key that it would attest,
	// empty if it has none.
	Key []byte
}

// Way is one way to attest.
type Way struct {
	Model    uint8
	Type     string // a media type
	Verifier string
}

// MaxWays is how many ways a list may have.
const MaxWays = 32

const framedBit = 1

// Marshal encodes the body.
func (h *HelloBody) Marshal() ([]byte, error) {
	var b cryptobyte.Builder
	var flags uint8
	if h.Framed {
		flags |= framedBit
	}
	b.AddUint8(flags)
	for _, list := range [][]Way{h.Shows, h.Accepts} {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, w := range list {
				b.AddUint8(w.Model)
				b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(w.Type)) })
				b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(w.Verifier)) })
			}
		})
	}
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(h.Key) })
	return b.Bytes()
}

// ParseHello decodes a hello's body.
func ParseHello(data []byte) (*HelloBody, error) {
	s := cryptobyte.String(data)
	var h HelloBody
	var flags uint8
	if !s.ReadUint8(&flags) {
		return nil, &FormatError{"a hello without flags"}
	}
	if flags&^framedBit != 0 {
		return nil, &FormatError{"a hello with unknown flags"}
	}
	h.Framed = flags&framedBit != 0
	for _, list := range []*[]Way{&h.Shows, &h.Accepts} {
		var ways cryptobyte.String
		if !s.ReadUint16LengthPrefixed(&ways) {
			return nil, &FormatError{"a hello whose list of ways to attest is cut short"}
		}
		for !ways.Empty() {
			var w Way
			var name, verifier cryptobyte.String
			if !ways.ReadUint8(&w.Model) || !ways.ReadUint8LengthPrefixed(&name) || !ways.ReadUint8LengthPrefixed(&verifier) {
				return nil, &FormatError{"a hello with a way to attest that is cut short"}
			}
			if len(*list) == MaxWays {
				return nil, &FormatError{"a hello with too many ways to attest"}
			}
			if len(name) == 0 || !utf8.Valid(name) || !utf8.Valid(verifier) {
				return nil, &FormatError{"a hello with a way to attest whose names are not text"}
			}
			w.Type, w.Verifier = string(name), string(verifier)
			*list = append(*list, w)
		}
	}
	var key cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&key) {
		return nil, &FormatError{"a hello whose key is cut short"}
	}
	if !s.Empty() {
		return nil, &FormatError{"a hello with bytes left over"}
	}
	if len(key) > 0 {
		h.Key = key
	}
	return &h, nil
}

// RefusalBody says why a side ends the exchange.
type RefusalBody struct {
	Code   uint16
	Reason string
}

// maxReason is the longest reason that is sent, in bytes.
const maxReason = 1 << 10

// Marshal encodes the body. A reason that is too long is cut.
func (r *RefusalBody) Marshal() []byte {
	reason := strings.ToValidUTF8(r.Reason, "�")
	if len(reason) > maxReason {
		cut := maxReason
		for !utf8.RuneStart(reason[cut]) {
			cut--
		}
		reason = reason[:cut]
	}
	return append([]byte{byte(r.Code >> 8), byte(r.Code)}, reason...)
}

// ParseRefusal decodes a refusal's body.
func ParseRefusal(data []byte) (*RefusalBody, error) {
	if len(data) < 2 {
		return nil, &FormatError{"a refusal without code"}
	}
	if reason := data[2:]; len(reason) > maxReason || !utf8.Valid(reason) {
		return nil, &FormatError{"a refusal whose reason is not text, or too long"}
	}
	return &RefusalBody{Code: uint16(data[0])<<8 | uint16(data[1]), Reason: string(data[2:])}, nil
}
