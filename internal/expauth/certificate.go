// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"bytes"
	"crypto/x509"

	"golang.org/x/crypto/cryptobyte"
)

// certificateMessage is a Certificate (RFC 8446, section 4.4.2).
type certificateMessage struct {
	context []byte
	entries []certificateEntry
}

type certificateEntry struct {
	der        []byte
	extensions []Extension
}

// marshal encodes the message. One without entries is part of the transcript
// of an empty authenticator.
func (m *certificateMessage) marshal() ([]byte, error) {
	return marshalMessage(typeCertificate, func(b *cryptobyte.Builder) {
		addOpaque8(b, m.context)
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, e := range m.entries {
				addOpaque24(b, e.der)
				addExtensions(b, e.extensions)
			}
		})
	})
}

func parseCertificate(body cryptobyte.String) (*certificateMessage, error) {
	var context, list cryptobyte.String
	if !body.ReadUint8LengthPrefixed(&context) {
		return nil, faultf(alertDecodeError, "certificate_request_context is cut short")
	}
	if !body.ReadUint24LengthPrefixed(&list) {
		return nil, faultf(alertDecodeError, "certificate_list is cut short")
	}
	if !body.Empty() {
		return nil, faultf(alertDecodeError, "%w", errTrailing)
	}
	// RFC 8446, section 4.4.2.4; an empty authenticator has no Certificate.
	if list.Empty() {
		return nil, faultf(alertDecodeError, "it has no certificate")
	}
	m := &certificateMessage{context: bytes.Clone(context)}
	for !list.Empty() {
		var der cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&der) {
			return nil, faultf(alertDecodeError, "certificate %d is cut short", len(m.entries))
		}
		if der.Empty() || len(der) > MaxCertificate {
			return nil, faultf(alertDecodeError, "certificate %d has %d bytes: want 1 to %d", len(m.entries), len(der), MaxCertificate)
		}
		extensions, err := readExtensions(&list)
		if err != nil {
			return nil, faultIn(err, "certificate %d", len(m.entries))
		}
		if len(m.entries) == MaxCertificates {
			return nil, faultf(alertBadCertificate, "more than %d certificates", MaxCertificates)
		}
		m.entries = append(m.entries, certificateEntry{der, extensions})
	}
	return m, nil
}

// checkLeaf is RFC 8446, section 4.4.2.2: what TLS asks of an end-entity
// certificate beyond its path.
func checkLeaf(leaf *x509.Certificate) error {
	if leaf.Version != 3 {
		return faultf(alertUnsupportedCertificate, "the end-entity certificate is X.509 version %d, want 3", leaf.Version)
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return faultf(alertUnsupportedCertificate, "the end-entity certificate's key usage does not allow signatures")
	}
	return nil
}

// parseChain reads the certificates. Nothing is verified.
func parseChain(chain [][]byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for i, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, faultf(alertBadCertificate, "certificate %d: %w", i, err)
		}
		list = append(list, cert)
	}
	if err := checkLeaf(list[0]); err != nil {
		return nil, err
	}
	return list, nil
}
