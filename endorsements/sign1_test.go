// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// goodHeader is a protected header with everything that is read. The entries of
// 8 (corim-meta) are wrapped by encodeSigned.
func goodHeader() m {
	return m{
		1: -7, 2: l{3, 8}, 3: "application/rim+cbor", 4: []byte("kid"),
		8:  m{0: m{0: "ACME Ltd.", 1: tag(32, "https://acme.example")}, 1: m{0: tag(1, 1700000000), 1: tag(1, 1800000000)}},
		15: m{1: "ACME Ltd.", 2: "a corim", 4: 1800000000, 5: 1700000000},
		33: l{[]byte("leaf"), []byte("ca")},
	}
}

// sign1 is a COSE_Sign1 message as a list: protected, unprotected, payload,
// signature.
func encodeSigned(t testing.TB, header m, payload []byte) l {
	t.Helper()
	out := m{}
	for k, v := range header {
		out[k] = v
	}
	if meta, ok := out[8].(m); ok {
		out[8] = encodeAny(t, meta)
	}
	return l{encodeAny(t, out), m{}, payload, make([]byte, 64)}
}

func TestReadSigned(t *testing.T) {
	payload := encodeDoc(t, goodCorim(t))
	data := encodeAny(t, tag(18, encodeSigned(t, goodHeader(), payload)))
	want := &UnverifiedSigned{
		Algorithm: -7, ContentType: "application/rim+cbor", KeyID: []byte("kid"), Chain: [][]byte{[]byte("leaf"), []byte("ca")},
		Signer:    Signer{Name: "ACME Ltd.", URI: "https://acme.example"},
		NotBefore: time.Unix(1700000000, 0).UTC(), NotAfter: time.Unix(1800000000, 0).UTC(),
		Subject: "a corim", Payload: payload, Message: data,
	}
	u, err := ReadSigned(data)
	require.NoError(t, err)
	assert.Equal(t, want, u)
	assert.Equal(t, "ES256", u.AlgorithmName())
	c, err := u.Corim()
	require.NoError(t, err)
	assert.Equal(t, DialectV1, c.Dialect)
	assert.NoError(t, u.CheckValidity(u.NotBefore))
	assert.NoError(t, u.CheckValidity(u.NotAfter))
	err = u.CheckValidity(u.NotBefore.Add(-time.Second))
	require.ErrorIs(t, err, ErrNotYetValid)
	require.ErrorContains(t, err, "signature: ")
	require.ErrorIs(t, u.CheckValidity(u.NotAfter.Add(time.Second)), ErrExpired)

	u, err = ReadSigned(append(mustHex("d901f4d901f6"), data...))
	require.NoError(t, err)
	assert.Equal(t, want, u, "with the tags of older drafts around it")
}

// What may be otherwise.
func TestReadSignedAccepts(t *testing.T) {
	v1, v2 := encodeDoc(t, goodCorim(t)), encodeDocIn(t, DialectV2, goodCorim(t))
	for name, test := range map[string]struct {
		change  func(h m)
		payload []byte
		check   func(t *testing.T, u *UnverifiedSigned)
	}{
		"dialect v2":       {func(m) {}, v2, func(t *testing.T, u *UnverifiedSigned) {}},
		"old content type": {func(h m) { h[3] = "application/corim-unsigned+cbor" }, v1, nil},
		"no kid":           {func(h m) { delete(h, 4) }, v1, func(t *testing.T, u *UnverifiedSigned) { assert.Nil(t, u.KeyID) }},
		"no chain":         {func(h m) { delete(h, 33) }, v1, func(t *testing.T, u *UnverifiedSigned) { assert.Empty(t, u.Chain) }},
		"one certificate":  {func(h m) { h[33] = []byte("leaf") }, v1, func(t *testing.T, u *UnverifiedSigned) { assert.Len(t, u.Chain, 1) }},
		"nothing critical": {func(h m) { delete(h, 2) }, v1, nil},
		"no CWT claims": {func(h m) { delete(h, 15) }, v1, func(t *testing.T, u *UnverifiedSigned) {
			assert.Equal(t, "ACME Ltd.", u.Signer.Name)
			assert.Empty(t, u.Subject)
		}},
		"CWT claims alone": {func(h m) { delete(h, 8); h[2] = l{15} }, v1, func(t *testing.T, u *UnverifiedSigned) {
			assert.Equal(t, Signer{Name: "ACME Ltd."}, u.Signer)
			assert.EqualValues(t, 1800000000, u.NotAfter.Unix())
		}},
		"no validity": {func(h m) { delete(h[8].(m), 1); delete(h, 15) }, v1, func(t *testing.T, u *UnverifiedSigned) {
			assert.True(t, u.NotAfter.IsZero())
			assert.NoError(t, u.CheckValidity(time.Unix(0, 0)))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			header := goodHeader()
			test.change(header)
			u, err := ReadSigned(encodeAny(t, tag(18, encodeSigned(t, header, test.payload))))
			require.NoError(t, err)
			_, err = u.Corim()
			require.NoError(t, err)
			if test.check != nil {
				test.check(t, u)
			}
		})
	}
}

func TestReadSignedRefuses(t *testing.T) {
	payload := encodeDoc(t, goodCorim(t))
	// Changes to the protected header.
	to := func(path l, v any) func(t *testing.T, h m) {
		return func(t *testing.T, h m) { set(t, h, path, v) }
	}
	without := func(path l) func(t *testing.T, h m) { return to(path, deletion{}) }
	const algs = "expected ES256 (-7), ES384 (-35), ES512 (-36) or EdDSA (-8), found "
	for name, test := range map[string]struct {
		change func(t *testing.T, h m)
		want   string
	}{
		"no algorithm":         {without(l{1}), `alg: missing`},
		"algorithm is text":    {to(l{1}, "ES256"), `alg: ` + algs + `a text string`},
		"RSA":                  {to(l{1}, -37), `alg: ` + algs + `-37`},
		"HMAC":                 {to(l{1}, 5), `alg: ` + algs + `the number 5`},
		"no content type":      {without(l{3}), `content-type: missing`},
		"content type":         {to(l{3}, "application/cbor"), `content-type: expected application/rim+cbor, found "application/cbor"`},
		"content format":       {to(l{3}, 60), `content-type: expected a text string, application/rim+cbor, found the number 60`},
		"kid is text":          {to(l{4}, "kid"), `kid: expected a byte string, found a text string`},
		"critical, unknown":    {to(l{2}, l{3, 16}), `crit[1]: parameter 16 is not there, or not understood`},
		"critical, negative":   {to(l{2}, l{-1}), `crit[0]: expected a header parameter that is understood, found a negative number`},
		"critical, text":       {to(l{2}, l{"x"}), `crit[0]: expected a header parameter that is understood, found a text string`},
		"critical, not there":  {without(l{4}), `crit[0]: parameter 4 is not there, or not understood`},
		"critical, none":       {to(l{2}, l{}), `crit: expected an array of header parameters, found an empty array`},
		"unknown parameter":    {to(l{16}, "x"), `unknown key 16`},
		"hash envelope":        {to(l{258}, -16), `unknown key 258`},
		"text as a parameter":  {to(l{"alg"}, -7), `unknown key "alg"`},
		"private parameter":    {to(l{-70000}, 1), `unknown key -70000`},
		"no signer":            {func(_ *testing.T, h m) { delete(h, 8); delete(h, 15); delete(h, 2) }, `corim-meta: missing; expected who signed, here or in cwt-claims`},
		"meta is a map":        {to(l{8}, raw{0xa0}), `corim-meta: expected a byte string that holds a corim-meta map, found a map`},
		"meta is empty":        {to(l{8}, []byte{}), `corim-meta: not well-formed CBOR within the limits: EOF`},
		"meta, more follows":   {to(l{8}, mustHex("a100a10061780a")), `corim-meta: not well-formed CBOR within the limits: cbor: 1 bytes of extraneous data starting at index 6`},
		"meta, unknown":        {to(l{8, 2}, 0), `corim-meta: unknown key 2`},
		"meta, no signer":      {without(l{8, 0}), `corim-meta.signer: missing`},
		"signer without name":  {without(l{8, 0, 0}), `corim-meta.signer.signer-name: missing; expected the name of an organisation`},
		"signer's empty name":  {to(l{8, 0, 0}, ""), `corim-meta.signer.signer-name: missing; expected the name of an organisation`},
		"signer's name":        {to(l{8, 0, 0}, nil), `corim-meta.signer.signer-name: expected a text string, found null`},
		"signer's URI":         {to(l{8, 0, 1}, "https://acme.example"), `corim-meta.signer.signer-uri: expected a URI (tag 32), found a text string`},
		"signer, unknown":      {to(l{8, 0, 2}, 0), `corim-meta.signer: unknown key 2`},
		"validity without end": {without(l{8, 1, 1}), `corim-meta.signature-validity.not-after: missing; expected seconds since 1970 (tag 1)`},
		"validity, untagged":   {to(l{8, 1, 1}, 1800000000), `corim-meta.signature-validity.not-after: expected whole seconds since 1970 (tag 1), found the number 1800000000`},
		"validity backwards":   {to(l{8, 1, 1}, tag(1, 1)), `corim-meta.signature-validity.not-after: expected 2023-11-14T22:13:20Z or later, found 1970-01-01T00:00:01Z`},
		"no issuer":            {without(l{15, 1}), `cwt-claims.iss: missing; expected the name of an organisation`},
		"another issuer":       {to(l{15, 1}, "Other"), `cwt-claims: expected the signer and the validity that corim-meta has, found others`},
		"another start":        {without(l{15, 5}), `cwt-claims: expected the signer and the validity that corim-meta has, found others`},
		"another end":          {to(l{15, 4}, 1800000001), `cwt-claims: expected the signer and the validity that corim-meta has, found others`},
		"end before start":     {to(l{15, 4}, 1), `cwt-claims.not-after: expected 2023-11-14T22:13:20Z or later, found 1970-01-01T00:00:01Z`},
		"end is a float":       {to(l{15, 4}, 1.5), `cwt-claims.exp: expected whole seconds since 1970, found a floating-point number`},
		"end after 9999":       {to(l{15, 4}, 253402300800), `cwt-claims.exp: expected whole seconds since 1970 until the year 9999, found the number 253402300800`},
		"another claim":        {to(l{15, 3}, "audience"), `cwt-claims: unknown key 3`},
		"chain of one":         {to(l{33}, l{[]byte("leaf")}), `x5chain: expected a certificate, or an array of two or more, found an array (1 elements)`},
		"empty chain":          {to(l{33}, l{}), `x5chain: expected a certificate, or an array of two or more, found an empty array`},
		"certificate is null":  {to(l{33}, make(l, 2)), `x5chain[0]: expected a certificate, found null`},
		"too long a chain":     {to(l{33}, l{[]byte{1}, []byte{1}, []byte{1}, []byte{1}, []byte{1}, []byte{1}, []byte{1}, []byte{1}, []byte{1}}), `x5chain: expected at most 8 certificates, found an array (9 elements)`},
		"chain is text":        {to(l{33}, "leaf"), `x5chain: expected a certificate, or an array of two or more, found a text string`},
	} {
		t.Run(name, func(t *testing.T) {
			header := goodHeader()
			if name == "critical, not there" {
				header[2] = l{4}
			}
			test.change(t, header)
			u, err := ReadSigned(encodeAny(t, tag(18, encodeSigned(t, header, payload))))
			assert.Nil(t, u)
			want := "protected." + test.want
			if strings.HasPrefix(test.want, "unknown key") {
				want = "protected: " + test.want
			}
			require.EqualError(t, err, want)
			var e *Error
			require.ErrorAs(t, err, &e)
		})
	}

	// Changes to the message.
	for name, test := range map[string]struct {
		element int
		value   any
		want    string
	}{
		"protected is a map":      {0, m{}, `protected: expected a byte string that holds the protected header, found a map`},
		"protected is empty":      {0, []byte{}, `protected: not well-formed CBOR within the limits: EOF`},
		"protected is null":       {0, []byte{0xf6}, `protected: expected a header map, found null`},
		"protected, more follows": {0, append(encodeAny(t, m{}), 0), `protected: not well-formed CBOR within the limits: cbor: 1 bytes of extraneous data starting at index 1`},
		"protected, twice":        {0, mustHex("a2012601382200"[:12]), `protected.alg: there twice`},
		"protected, indefinite":   {0, mustHex("bf0126ff"), `protected: not well-formed CBOR within the limits: cbor: indefinite-length map isn't allowed`},
		"protected, long form":    {0, mustHex("a1180126"), `protected: 1 is not in its shortest form`},
		"unprotected algorithm":   {1, m{1: -7}, `unprotected: unknown key 1`},
		"unprotected chain":       {1, m{33: []byte("leaf")}, `unprotected: unknown key 33`},
		"unprotected kid is text": {1, m{4: "kid"}, `unprotected.kid: expected a byte string, found a text string`},
		"unprotected is null":     {1, nil, `unprotected: expected a header map, found null`},
		"detached payload":        {2, nil, `payload: expected a byte string that holds the CoRIM; a payload elsewhere is not supported, found null`},
		"payload is a map":        {2, m{}, `payload: expected a byte string that holds the CoRIM; a payload elsewhere is not supported, found a map`},
		"no signature":            {3, nil, `signature: expected a byte string, found null`},
		"empty signature":         {3, []byte{}, `signature: expected the 64 bytes of ES256, found a byte string (0 bytes)`},
		"long signature":          {3, make([]byte, 65), `signature: expected the 64 bytes of ES256, found a byte string (65 bytes)`},
	} {
		t.Run(name, func(t *testing.T) {
			message := encodeSigned(t, goodHeader(), payload)
			message[test.element] = test.value
			u, err := ReadSigned(encodeAny(t, tag(18, message)))
			assert.Nil(t, u)
			require.EqualError(t, err, test.want)
			var e *Error
			require.ErrorAs(t, err, &e)
		})
	}
	message := encodeSigned(t, goodHeader(), payload)
	message[1] = m{4: []byte("a hint")}
	u, err := ReadSigned(encodeAny(t, tag(18, message)))
	require.NoError(t, err)
	assert.Equal(t, []byte("kid"), u.KeyID, "what is not protected is in the result")

	// What is around the message.
	good := encodeAny(t, tag(18, encodeSigned(t, goodHeader(), payload)))
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":        {nil, `no data; expected a signed CoRIM`},
		"too much":       {make([]byte, MaxSignedSize+1), `1114113 bytes; expected at most 1114112`},
		"no CBOR":        {[]byte{0xff}, `not well-formed CBOR within the limits: cbor: unexpected "break" code`},
		"no tag":         {good[1:], `expected a COSE_Sign1 message (tag 18), found an array (4 elements)`},
		"tag twice":      {append([]byte{0xd2}, good...), `expected a COSE_Sign1 message, an array of four, found tag 18`},
		"older tag":      {append(mustHex("d901f6"), good...), `expected a COSE_Sign1 message (tag 18), found tag 502`},
		"another tag":    {append(mustHex("d862"), good[1:]...), ErrUnsigned.Error()},
		"more follows":   {append(bytes.Clone(good), 0), `not well-formed CBOR within the limits: cbor: 1 bytes of extraneous data starting at index ` + itoa(len(good))},
		"array of three": {encodeAny(t, tag(18, l{[]byte{}, m{}, []byte{}})), `expected a COSE_Sign1 message, an array of four, found an array (3 elements)`},
		"unsigned":       {payload, ErrUnsigned.Error()},
		"unsigned, v2":   {encodeDocIn(t, DialectV2, goodCorim(t)), ErrUnsigned.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := ReadSigned(test.data)
			assert.Nil(t, u)
			require.EqualError(t, err, test.want)
			assert.Equal(t, test.want == ErrUnsigned.Error(), errors.Is(err, ErrUnsigned))
		})
	}
}

func TestSignedCorimRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(h m)
		payload []byte
		want    string
	}{
		"no CoRIM":         {func(m) {}, []byte{0}, `payload: expected a CoRIM map, found the number 0`},
		"signed twice":     {func(m) {}, encodeAny(t, tag(18, encodeSigned(t, goodHeader(), nil))), `payload: ` + ErrSigned.Error()},
		"old content type": {func(h m) { h[3] = "application/corim-unsigned+cbor" }, encodeDocIn(t, DialectV2, goodCorim(t)), `protected.content-type: expected application/rim+cbor for a CoRIM in dialect v2 (Veraison after v0.0.2608), found application/corim-unsigned+cbor`},
		"another subject":  {func(h m) { h[15].(m)[2] = "b corim" }, encodeDoc(t, goodCorim(t)), `protected.cwt-claims.sub: expected the identifier of the CoRIM, "a corim", found "b corim"`},
	} {
		t.Run(name, func(t *testing.T) {
			header := goodHeader()
			test.change(header)
			u, err := ReadSigned(encodeAny(t, tag(18, encodeSigned(t, header, test.payload))))
			require.NoError(t, err)
			c, err := u.Corim()
			assert.Nil(t, c)
			require.EqualError(t, err, test.want)
		})
	}
}

func TestProtectedHeader(t *testing.T) {
	u := UnverifiedSigned{
		Algorithm: -8, KeyID: []byte("kid"), Signer: Signer{Name: "ACME", URI: "https://acme.example"},
		Chain: [][]byte{[]byte("leaf"), []byte("ca")}, NotAfter: time.Unix(1800000000, 0).UTC(),
	}
	protected, err := u.ProtectedHeader()
	require.NoError(t, err)
	message := l{protected, m{}, encodeDoc(t, goodCorim(t)), make([]byte, 64)}
	read, err := ReadSigned(encodeAny(t, tag(18, message)))
	require.NoError(t, err)
	read.ContentType, read.Payload, read.Message = "", nil, nil
	assert.Equal(t, &u, read)

	for name, test := range map[string]struct {
		change func(u *UnverifiedSigned)
		want   string
	}{
		"no algorithm":     {func(u *UnverifiedSigned) { u.Algorithm = 0 }, `protected.alg: expected ES256 (-7), ES384 (-35), ES512 (-36) or EdDSA (-8), found the number 0`},
		"no name":          {func(u *UnverifiedSigned) { u.Signer.Name = "" }, `protected.corim-meta.signer.signer-name: missing; expected the name of an organisation`},
		"name is no text":  {func(u *UnverifiedSigned) { u.Signer.Name = "\xff" }, `protected.corim-meta.signer.signer-name: expected a text string, found invalid UTF-8`},
		"no end":           {func(u *UnverifiedSigned) { u.NotBefore, u.NotAfter = u.NotAfter, time.Time{} }, `validity.not-after: missing; expected a time, because there is a not-before`},
		"end before start": {func(u *UnverifiedSigned) { u.NotBefore = u.NotAfter.Add(time.Second) }, `validity.not-after: expected 2027-01-15T08:00:01Z or later, found 2027-01-15T08:00:00Z`},
		"long chain":       {func(u *UnverifiedSigned) { u.Chain = make([][]byte, 9) }, `protected.x5chain[0]: expected a certificate, found null`},
	} {
		t.Run(name, func(t *testing.T) {
			u := u
			test.change(&u)
			data, err := u.ProtectedHeader()
			assert.Nil(t, data)
			require.EqualError(t, err, test.want)
		})
	}
}

// FuzzReadSigned: any bytes give a value or an error, and a value says what
// another reader finds in the same bytes.
func FuzzReadSigned(f *testing.F) {
	for _, payload := range [][]byte{encodeDoc(f, goodCorim(f)), encodeDocIn(f, DialectV2, goodCorim(f))} {
		good := encodeAny(f, tag(18, encodeSigned(f, goodHeader(), payload)))
		_, err := ReadSigned(good)
		require.NoError(f, err)
		f.Add(good)
	}
	f.Add(encodeAny(f, tag(500, tag(502, tag(18, encodeSigned(f, goodHeader(), []byte{0}))))))
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := ReadSigned(data)
		if err != nil {
			require.Nil(t, u)
			var e *Error
			require.ErrorAs(t, err, &e)
			return
		}
		require.True(t, bytes.HasSuffix(data, u.Message))
		require.NotEmpty(t, u.AlgorithmName())
		require.NotEmpty(t, u.Signer.Name)
		require.False(t, strings.Contains(u.ContentType, " "))
		if c, err := u.Corim(); err == nil {
			again, err := Decode(u.Payload)
			require.NoError(t, err)
			require.Equal(t, again, c)
		}
		header := *u
		if protected, err := header.ProtectedHeader(); err == nil {
			read, err := ReadSigned(encodeAny(t, tag(18, l{protected, m{}, u.Payload, make([]byte, signatureSizes[u.Algorithm])})))
			require.NoError(t, err)
			require.Equal(t, u.Signer, read.Signer)
			require.True(t, u.NotAfter.Equal(read.NotAfter) && u.NotBefore.Equal(read.NotBefore))
		}
	})
}
