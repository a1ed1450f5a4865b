// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"crypto"
	"encoding/binary"
	"errors"
	"hash"
	"slices"
)

// longhand makes authenticators a second time, from the specifications and
// without a line of the package: HMAC, HKDF, exporters and messages are written
// out. Tests compare the two, and have it make what is wrong in one thing.
type longhand struct {
	newHash func() hash.Hash
	secret  []byte // exporter_secret, RFC 8446, section 7.1
	sender  string // client or server
	request []byte

	// Certificate
	context []byte
	entries []longhandEntry

	// CertificateVerify
	scheme uint16
	label  string
	sign   func(content []byte) []byte
}

type longhandEntry struct{ der, extensions []byte }

// opaque is data after its length in n bytes.
func opaque(n int, data ...[]byte) []byte {
	all := slices.Concat(data...)
	length := binary.BigEndian.AppendUint64(nil, uint64(len(all)))
	return append(slices.Clone(length[8-n:]), all...)
}

func handshake(typ byte, body ...[]byte) []byte {
	return append([]byte{typ}, opaque(3, body...)...)
}

func extension(typ uint16, data ...[]byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, typ), opaque(2, data...)...)
}

func longhandSum(newHash func() hash.Hash, data ...[]byte) []byte {
	h := newHash()
	for _, d := range data {
		h.Write(d)
	}
	return h.Sum(nil)
}

// longhandHMAC is RFC 2104.
func longhandHMAC(newHash func() hash.Hash, key, text []byte) []byte {
	inner := make([]byte, newHash().BlockSize())
	if len(key) > len(inner) {
		key = longhandSum(newHash, key)
	}
	copy(inner, key)
	outer := slices.Clone(inner)
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	return longhandSum(newHash, outer, longhandSum(newHash, inner, text))
}

// longhandExpandLabel is HKDF-Expand-Label of RFC 8446, section 7.1, over
// HKDF-Expand of RFC 5869.
func longhandExpandLabel(newHash func() hash.Hash, secret []byte, label string, context []byte, length int) []byte {
	info := slices.Concat(
		[]byte{byte(length >> 8), byte(length)},
		opaque(1, []byte("tls13 "+label)),
		opaque(1, context))
	var out, block []byte
	for i := byte(1); len(out) < length; i++ {
		block = longhandHMAC(newHash, secret, slices.Concat(block, info, []byte{i}))
		out = append(out, block...)
	}
	return out[:length]
}

// longhandExport is RFC 8446, section 7.5.
func longhandExport(newHash func() hash.Hash, secret []byte, label string, context []byte, length int) []byte {
	derived := longhandExpandLabel(newHash, secret, label, longhandSum(newHash), newHash().Size())
	return longhandExpandLabel(newHash, derived, "exporter", longhandSum(newHash, context), length)
}

func (l *longhand) export(label string) []byte {
	return longhandExport(l.newHash, l.secret, label, nil, l.newHash().Size())
}

func (l *longhand) handshakeContext() []byte {
	return l.export("EXPORTER-" + l.sender + " authenticator handshake context")
}

func (l *longhand) finishedKey() []byte {
	return l.export("EXPORTER-" + l.sender + " authenticator finished key")
}

func (l *longhand) certificate() []byte {
	var list []byte
	for _, e := range l.entries {
		list = slices.Concat(list, opaque(3, e.der), opaque(2, e.extensions))
	}
	return handshake(11, opaque(1, l.context), opaque(3, list))
}

// content is what a CertificateVerify signs.
func (l *longhand) content(certificate []byte) []byte {
	var pad [64]byte
	for i := range pad {
		pad[i] = 0x20
	}
	return slices.Concat(pad[:], []byte(l.label), []byte{0},
		longhandSum(l.newHash, l.handshakeContext(), l.request, certificate))
}

func (l *longhand) verify(certificate []byte) []byte {
	return l.verifyOf(l.sign(l.content(certificate)))
}

func (l *longhand) verifyOf(signature []byte) []byte {
	return handshake(15, binary.BigEndian.AppendUint16(nil, l.scheme), opaque(2, signature))
}

func (l *longhand) finished(messages ...[]byte) []byte {
	transcript := longhandSum(l.newHash, l.handshakeContext(), l.request, slices.Concat(messages...))
	return handshake(20, longhandHMAC(l.newHash, l.finishedKey(), transcript))
}

// authenticator is RFC 9261, section 5.2.4.
func (l *longhand) authenticator() []byte {
	certificate := l.certificate()
	verify := l.verify(certificate)
	return slices.Concat(certificate, verify, l.finished(certificate, verify))
}

// empty is RFC 9261, section 6.
func (l *longhand) empty() []byte {
	return l.finished(handshake(11, opaque(1, l.context), opaque(3)))
}

// connection has the package work on the same exporter secret.
func (l *longhand) connection(hash crypto.Hash) *Connection {
	return newConnection(hash, func(label string, context []byte, length int) ([]byte, error) {
		if length > 255*hash.Size() {
			return nil, errors.New("too long for HKDF")
		}
		return longhandExport(l.newHash, l.secret, label, context, length), nil
	})
}
