// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// Extension is one of TLS's (RFC 8446, section 4.2). Data is at most 65535
// bytes.
type Extension struct {
	Type uint16
	Data []byte
}

// Those that a request has in fields of their own, and one that is for requests
// alone (IANA, TLS ExtensionType Values).
const (
	extServerName              uint16 = 0
	extSignatureAlgorithms     uint16 = 13
	extCertificateAuthorities  uint16 = 47
	extOIDFilters              uint16 = 48
	extSignatureAlgorithmsCert uint16 = 50
)

func extensionName(typ uint16) string {
	switch typ {
	case extServerName:
		return "server_name"
	case extSignatureAlgorithms:
		return "signature_algorithms"
	case extCertificateAuthorities:
		return "certificate_authorities"
	case extOIDFilters:
		return "oid_filters"
	case extSignatureAlgorithmsCert:
		return "signature_algorithms_cert"
	default:
		return fmt.Sprintf("extension 0x%04x", typ)
	}
}

// requestOnly says whether an extension may not stand in a Certificate (IANA,
// TLS ExtensionType Values, column TLS 1.3: no CT).
func requestOnly(typ uint16) bool {
	switch typ {
	case extServerName, extSignatureAlgorithms, extCertificateAuthorities, extOIDFilters, extSignatureAlgorithmsCert:
		return true
	default:
		return false
	}
}

// readExtensions takes a list of extensions off s. Two of a type are an error
// (RFC 8446, section 4.2).
func readExtensions(s *cryptobyte.String) ([]Extension, error) {
	var block cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&block) {
		return nil, faultf(alertDecodeError, "the list of extensions is cut short")
	}
	var list []Extension
	seen := make(map[uint16]bool)
	for !block.Empty() {
		var (
			typ  uint16
			data cryptobyte.String
		)
		if !block.ReadUint16(&typ) || !block.ReadUint16LengthPrefixed(&data) {
			return nil, faultf(alertDecodeError, "an extension is cut short")
		}
		if seen[typ] {
			return nil, faultf(alertIllegalParameter, "%s appears twice", extensionName(typ))
		}
		seen[typ] = true
		if len(list) == MaxExtensions {
			return nil, faultf(alertIllegalParameter, "more than %d extensions", MaxExtensions)
		}
		list = append(list, Extension{Type: typ, Data: bytes.Clone(data)})
	}
	return list, nil
}

func addExtensions(b *cryptobyte.Builder, list []Extension) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, e := range list {
			b.AddUint16(e.Type)
			addOpaque16(b, e.Data)
		}
	})
}

// checkExtensions refuses what cannot be encoded, or would be refused.
func checkExtensions(list []Extension) error {
	if len(list) > MaxExtensions {
		return fmt.Errorf("%d extensions: at most %d", len(list), MaxExtensions)
	}
	seen := make(map[uint16]bool)
	size := 0
	for _, e := range list {
		if seen[e.Type] {
			return fmt.Errorf("%s is given twice", extensionName(e.Type))
		}
		seen[e.Type] = true
		if len(e.Data) > 0xffff {
			return fmt.Errorf("%s has %d bytes: at most 65535", extensionName(e.Type), len(e.Data))
		}
		size += 4 + len(e.Data)
	}
	if size > 0xffff {
		return fmt.Errorf("the extensions have %d bytes: at most 65535", size)
	}
	return nil
}

// checkOffered is RFC 9261, section 5.2.1: a Certificate has extensions of the
// request only.
func checkOffered(list []Extension, request *Request) error {
	for _, e := range list {
		if requestOnly(e.Type) {
			return faultf(alertIllegalParameter, "%s does not belong in a Certificate", extensionName(e.Type))
		}
		if !request.offers(e.Type) {
			return faultf(alertUnsupportedExtension, "%w: %s", ErrExtension, extensionName(e.Type))
		}
	}
	return nil
}

var errTrailing = errors.New("bytes left over at the end")
