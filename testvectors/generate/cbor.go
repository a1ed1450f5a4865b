// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"slices"

	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

// Bundles that package bundle would not write are put together by hand
// (RFC 8949, section 3).

const (
	cborUint  = 0
	cborBytes = 2
	cborText  = 3
	cborArray = 4
	cborMap   = 5
	cborTag   = 6

	cborBreak      = 0xff
	cborIndefinite = 31
)

// head is the first bytes of an item.
func head(major byte, n int) []byte {
	switch {
	case n < 24:
		return []byte{major<<5 | byte(n)}
	case n < 1<<8:
		return []byte{major<<5 | 24, byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(n))
	default:
		return binary.BigEndian.AppendUint32([]byte{major<<5 | 26}, uint32(n))
	}
}

func byteString(b []byte) []byte { return append(head(cborBytes, len(b)), b...) }

func textString(s string) []byte { return append(head(cborText, len(s)), s...) }

// field is an entry of a map: a text key and an encoded value.
type field struct {
	key   string
	value []byte
}

// object is a map.
func object(fields ...field) []byte {
	return append(head(cborMap, len(fields)), entries(fields...)...)
}

func entries(fields ...field) []byte {
	var b []byte
	for _, f := range fields {
		b = slices.Concat(b, textString(f.key), f.value)
	}
	return b
}

func katFields(t kat.Token) []field {
	return []field{
		{"kid", byteString(t.KID)}, {"sig", byteString(t.Sig)}, {"tpmVer", textString(t.TPMVer)},
		{"pubArea", byteString(t.PubArea)}, {"certInfo", byteString(t.CertInfo)},
	}
}

func patFields(t pat.Token) []field {
	return []field{
		{"kid", byteString(t.KID)}, {"sig", byteString(t.Sig)}, {"tpmVer", textString(t.TPMVer)},
		{"attestInfo", byteString(t.AttestInfo)},
	}
}

// katField and patField are the entries of the scene's bundle.
func (s *scene) katField() field { return field{"kat", object(katFields(s.kat)...)} }

func (s *scene) patField() field { return field{"pat", object(patFields(s.pat)...)} }

// without leaves a field out.
func without(fields []field, key string) []field {
	return slices.DeleteFunc(fields, func(f field) bool { return f.key == key })
}

// replaced gives a field another value.
func replaced(fields []field, key string, value []byte) []field {
	for i, f := range fields {
		if f.key == key {
			fields[i].value = value
		}
	}
	return fields
}
