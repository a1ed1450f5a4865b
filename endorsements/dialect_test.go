// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever is handed a signed CoRIM learns that it is one, whatever tags are
// around it.
func TestSigned(t *testing.T) {
	sign1 := l{[]byte{0xa1, 0x01, 0x26}, m{}, []byte{0xa0}, make([]byte, 64)}
	for name, doc := range map[string]any{
		"tagged": tag(18, sign1), "no tag": sign1, "older tags": tag(500, tag(502, tag(18, sign1))), "older tag": tag(502, sign1),
	} {
		t.Run(name, func(t *testing.T) {
			data := encodeAny(t, doc)
			c, err := Decode(data)
			assert.Nil(t, c)
			require.ErrorIs(t, err, ErrSigned)
			var e *Error
			require.ErrorAs(t, err, &e)
			_, err = Convert(data, DialectV1)
			require.ErrorIs(t, err, ErrSigned)
		})
	}
}

// TestDecodeRefusesV2 has one defect each in the framing of DialectV2.
func TestDecodeRefusesV2(t *testing.T) {
	to := func(path l, v any) func(doc m) { return func(doc m) { set(t, doc, path, v) } }
	signer := m{0: "ACME", 2: l{1, 2}}
	for name, test := range map[string]struct {
		change func(doc m)
		want   string
	}{
		"profile is a number":     {to(l{3}, 7), `profile: expected a URI (tag 32), tag:github.com/parallaxsecond,2023-03-03:tpm, found the number 7`},
		"another profile in text": {to(l{3}, raw(encodeAny(t, "https://acme.example"))), `profile: expected "tag:github.com/parallaxsecond,2023-03-03:tpm", found "https://acme.example"`},
		"profile is an OID":       {to(l{3}, tag(111, []byte{0x2b, 6})), `profile: expected a URI (tag 32), tag:github.com/parallaxsecond,2023-03-03:tpm, found tag 111`},
		"URI is bytes":            {to(l{3}, tag(32, []byte(Profile))), `profile: expected a URI (tag 32), tag:github.com/parallaxsecond,2023-03-03:tpm, found a byte string (44 bytes)`},
		"another profile":         {to(l{3}, tag(32, "https://acme.example")), `profile: expected "tag:github.com/parallaxsecond,2023-03-03:tpm", found "https://acme.example"`},
		"CoMID of dialect v1":     {to(l{1, 1}, []byte("\xd9\x01\xfb")), `tags[1]: expected a CoMID (tag 506), found a byte string (3 bytes)`},
		"CoMID is a map":          {to(l{1, 1}, tag(506, m{})), `tags[1]: expected a byte string that holds a CoMID, found a map`},
		"CoMID has both framings": {to(l{1, 1}, tag(506, encodeAny(t, tag(506, m{})))), `comid[1]: expected a CoMID map, found tag 506`},
		"empty CoMID":             {to(l{1, 1}, tag(506, []byte{})), `comid[1]: not well-formed CBOR within the limits: EOF`},
		"more after the CoMID":    {to(l{1, 1}, tag(506, []byte{0xa0, 0})), `comid[1]: not well-formed CBOR within the limits: cbor: 1 bytes of extraneous data starting at index 1`},
		"CoSWID":                  {to(l{1, 1}, tag(505, []byte{0xff})), `comid[1]: expected a CoMID (tag 506), found a CoSWID (tag 505), which is not in the profile`},
		"CoTS":                    {to(l{1, 1}, tag(507, []byte{0xff})), `comid[1]: expected a CoMID (tag 506), found a CoTS (tag 507), which is not in the profile`},
		"CoTL":                    {to(l{1, 1}, tag(508, []byte{0xff})), `comid[1]: expected a CoMID (tag 506), found a CoTL (tag 508), which is not in the profile`},
		"another tag":             {to(l{1, 1}, tag(600, []byte{0xff})), `comid[1]: expected a CoMID (tag 506), found tag 600`},
		"role of an entity":       {to(l{5, 0, 2}, l{3}), `entities[0].roles[0]: expected the role manifest-creator (1) or manifest-signer (2), found the number 3`},
		"two signers":             {to(l{5}, l{signer, signer}), `entities[1].roles: a second entity with the role manifest-signer (2); entities[0] has it`},
	} {
		t.Run(name, func(t *testing.T) {
			doc := goodCorim(t)
			test.change(doc)
			c, err := Decode(encodeDocIn(t, DialectV2, doc))
			assert.Nil(t, c)
			require.EqualError(t, err, test.want)
		})
	}
	// What is around the map.
	inner := encodeDocIn(t, DialectV2, goodCorim(t))[3:]
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"no tag":          {encodeAny(t, m{0: "id", 1: l{[]byte{0}}, 3: tag(32, Profile)}), `profile: expected a text string, tag:github.com/parallaxsecond,2023-03-03:tpm, found tag 32; a CoRIM in dialect v2 has tag 501 around it`},
		"no tag, CoMID":   {inner, `tags[0]: expected a byte string that holds a CoMID, found tag 506; a CoRIM in dialect v2 has tag 501 around it`},
		"older tag":       {append(mustHex("d901f4d901f5"), inner...), `expected a CoRIM, a map (dialect v1) or tag 501 (dialect v2), found tag 500`},
		"tag twice":       {append(mustHex("d901f5d901f5"), inner...), `expected a CoRIM map, found tag 501`},
		"no map":          {mustHex("d901f507"), `expected a CoRIM map, found the number 7`},
		"more follows":    {append(append(mustHex("d901f5"), inner...), 0), `not well-formed CBOR within the limits: cbor: 1 bytes of extraneous data starting at index ` + itoa(len(inner)+3)},
		"v1 with tag 501": {append(mustHex("d901f5"), encodeDoc(t, goodCorim(t))...), `tags[0]: expected a CoMID (tag 506), found a byte string (311 bytes)`},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Decode(test.data)
			assert.Nil(t, c)
			require.EqualError(t, err, test.want)
		})
	}
}

func TestMediaType(t *testing.T) {
	const profile = `; profile="tag:github.com/parallaxsecond,2023-03-03:tpm"`
	assert.Equal(t, "application/corim-unsigned+cbor"+profile, DialectV1.MediaType(false))
	assert.Equal(t, "application/corim-signed+cbor"+profile, DialectV1.MediaType(true))
	assert.Equal(t, "application/rim+cbor"+profile, DialectV2.MediaType(false))
	assert.Equal(t, "application/rim+cose"+profile, DialectV2.MediaType(true))
	assert.Empty(t, Dialect(0).MediaType(true))
}

func TestDialectString(t *testing.T) {
	assert.Equal(t, "v1 (Veraison until v0.0.2602)", DialectV1.String())
	assert.Equal(t, "v2 (Veraison after v0.0.2608)", DialectV2.String())
	assert.Equal(t, "Dialect(0)", Dialect(0).String())
}
