// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/eat"
)

func TestNewTrustAnchor(t *testing.T) {
	keys := map[string]crypto.PublicKey{
		"P-256":    newKey(t, elliptic.P256()),
		"P-384":    newKey(t, elliptic.P384()),
		"P-521":    newKey(t, elliptic.P521()),
		"RSA 2048": newRSAKey(t, 2048),
		"RSA 4096": &rsa.PublicKey{N: oddModulus(4096), E: 65537},
	}
	for name, key := range keys {
		t.Run(name, func(t *testing.T) {
			text, err := MarshalKeyPEM(key)
			require.NoError(t, err)
			a, err := NewTrustAnchor(strings.ToUpper(classA), kidA, text)
			require.NoError(t, err)
			assert.Equal(t, classA, a.Class)
			assert.Equal(t, eat.UEID(kidA), a.KID)
			assert.Equal(t, text, a.PEM)
			assert.True(t, sameKey(key, a.Key))
		})
	}
}

func TestNewTrustAnchorCopiesKID(t *testing.T) {
	kid := bytes.Clone(kidA)
	a := mustAnchor(t, classA, kid, pemA)
	clear(kid)
	assert.Equal(t, kidA, []byte(a.KID))
}

func TestNewTrustAnchorRefuses(t *testing.T) {
	block := func(kind string, headers map[string]string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: der}))
	}
	der, _ := pem.Decode([]byte(pemA))
	require.NotNil(t, der)
	offCurve := bytes.Clone(der.Bytes)
	offCurve[len(offCurve)-1] ^= 1

	tests := map[string]struct {
		class string
		kid   []byte
		pem   string
		field string
		want  string
	}{
		"no class":             {"", kidA, pemA, "class", `expected a UUID such as cd1f0e55-26f9-460d-b9d8-f7fde171787c, found ""`},
		"class without hyphen": {strings.ReplaceAll(classA, "-", ""), kidA, pemA, "class", `expected a UUID such as cd1f0e55-26f9-460d-b9d8-f7fde171787c, found "cd1f0e5526f9460db9d8f7fde171787c"`},
		"class as a URN":       {"urn:uuid:" + classA, kidA, pemA, "class", `expected a UUID such as cd1f0e55-26f9-460d-b9d8-f7fde171787c, found "urn:uuid:cd1f0e55-26f9-460d-b9d8-f7fde171787c"`},
		"class in braces":      {"{" + classA[:34] + "}", kidA, pemA, "class", `expected a UUID such as cd1f0e55-26f9-460d-b9d8-f7fde171787c, found "{cd1f0e55-26f9-460d-b9d8-f7fde17178}"`},
		"class not in hex":     {"g" + classA[1:], kidA, pemA, "class", `expected a UUID such as cd1f0e55-26f9-460d-b9d8-f7fde171787c, found "gd1f0e55-26f9-460d-b9d8-f7fde171787c"`},
		"no kid":               {classA, nil, pemA, "kid", `expected a UEID (RFC 9711, 4.2.1): empty UEID`},
		"kid of unknown type":  {classA, make([]byte, 33), pemA, "kid", `expected a UEID (RFC 9711, 4.2.1): invalid UEID type 0`},
		"kid too short":        {classA, kidA[:16], pemA, "kid", `expected a UEID (RFC 9711, 4.2.1): RAND length must be exactly 16, 24, or 32 bytes; found 15 bytes`},
		"no key":               {classA, kidA, "", "key", `expected one PEM block PUBLIC KEY, found something else at the start`},
		"text before":          {classA, kidA, "\n" + pemA, "key", `expected one PEM block PUBLIC KEY, found something else at the start`},
		"text after":           {classA, kidA, pemA + "\n\n", "key", `expected one PEM block PUBLIC KEY, found 1 bytes after it`},
		"two blocks":           {classA, kidA, pemA + "\n" + pemB, "key", `expected one PEM block PUBLIC KEY, found several blocks`},
		"block in a block":     {classA, kidA, "-----BEGIN PUBLIC KEY-----\n" + pemA, "key", `expected one PEM block PUBLIC KEY, found several blocks`},
		"no end":               {classA, kidA, strings.TrimSuffix(pemA, "-----END PUBLIC KEY-----"), "key", `expected one PEM block PUBLIC KEY, found a malformed block`},
		"no base64":            {classA, kidA, strings.Replace(pemA, "M", "*", 1), "key", `expected one PEM block PUBLIC KEY, found a malformed block`},
		"private key":          {classA, kidA, block("PRIVATE KEY", nil, der.Bytes), "key", `expected one PEM block PUBLIC KEY, found a block "PRIVATE KEY"`},
		"certificate":          {classA, kidA, block("CERTIFICATE", nil, der.Bytes), "key", `expected one PEM block PUBLIC KEY, found a block "CERTIFICATE"`},
		"odd type":             {classA, kidA, block("A\x1b[2J", nil, der.Bytes), "key", `expected one PEM block PUBLIC KEY, found a block "A\x1b[2J"`},
		"headers":              {classA, kidA, block("PUBLIC KEY", map[string]string{"a": "b"}, der.Bytes), "key", `expected one PEM block PUBLIC KEY without headers`},
		"no SPKI":              {classA, kidA, block("PUBLIC KEY", nil, []byte{1}), "key", `expected a SubjectPublicKeyInfo: asn1: syntax error: truncated tag or length`},
		"bytes after the SPKI": {classA, kidA, block("PUBLIC KEY", nil, append(bytes.Clone(der.Bytes), 0)), "key", `expected a SubjectPublicKeyInfo: x509: trailing data after ASN.1 of public-key`},
		"point off the curve":  {classA, kidA, block("PUBLIC KEY", nil, offCurve), "key", `expected a SubjectPublicKeyInfo: P256 point not on curve`},
		"P-224":                {classA, kidA, spkiPEM(t, newKey(t, elliptic.P224())), "key", `expected an ECDSA key on P-256, P-384 or P-521, found one on P-224`},
		"Ed25519":              {classA, kidA, spkiPEM(t, ed25519.PublicKey(make([]byte, 32))), "key", `expected an ECDSA or RSA key, found ed25519.PublicKey`},
		"RSA 2047":             {classA, kidA, spkiPEM(t, &rsa.PublicKey{N: oddModulus(2047), E: 65537}), "key", `expected an RSA key of 2048 to 4096 bits, found one of 2047`},
		"RSA 4097":             {classA, kidA, spkiPEM(t, &rsa.PublicKey{N: oddModulus(4097), E: 65537}), "key", `expected an RSA key of 2048 to 4096 bits, found one of 4097`},
		"RSA exponent 3":       {classA, kidA, spkiPEM(t, &rsa.PublicKey{N: oddModulus(2048), E: 3}), "key", `expected an RSA key with odd modulus and odd exponent from 65537, found exponent 3`},
		"RSA even exponent":    {classA, kidA, spkiPEM(t, &rsa.PublicKey{N: oddModulus(2048), E: 65538}), "key", `expected an RSA key with odd modulus and odd exponent from 65537, found exponent 65538`},
		"RSA even modulus":     {classA, kidA, spkiPEM(t, &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537}), "key", `expected an RSA key with odd modulus and odd exponent from 65537, found exponent 65537`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a, err := NewTrustAnchor(test.class, test.kid, test.pem)
			assert.Zero(t, a)
			require.EqualError(t, err, test.field+": "+test.want)
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, test.field, e.Field)
		})
	}
}

// oddModulus is a number of so many bits, large and odd.
func oddModulus(bits int) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return n.SetBit(n, 0, 1)
}

func TestMarshalKeyPEMRefuses(t *testing.T) {
	tests := map[string]struct {
		key  crypto.PublicKey
		want string
	}{
		"nothing":     {nil, `expected an ECDSA or RSA key, found none`},
		"nil ECDSA":   {(*ecdsa.PublicKey)(nil), `expected an ECDSA or RSA key, found none`},
		"empty ECDSA": {&ecdsa.PublicKey{}, `expected an ECDSA or RSA key, found none`},
		"nil RSA":     {(*rsa.PublicKey)(nil), `expected an ECDSA or RSA key, found none`},
		"empty RSA":   {&rsa.PublicKey{}, `expected an ECDSA or RSA key, found none`},
		"by value":    {*newKey(t, elliptic.P256()), `expected an ECDSA or RSA key, found ecdsa.PublicKey`},
		"P-224":       {newKey(t, elliptic.P224()), `expected an ECDSA key on P-256, P-384 or P-521, found one on P-224`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text, err := MarshalKeyPEM(test.key)
			assert.Empty(t, text)
			assert.EqualError(t, err, test.want)
		})
	}
}

func TestMarshalKeyPEMRefusesPointOffTheCurve(t *testing.T) {
	key := newKey(t, elliptic.P256())
	key.Curve = elliptic.P384()
	text, err := MarshalKeyPEM(key)
	assert.Empty(t, text)
	assert.EqualError(t, err, "P384 point not on curve")
}
