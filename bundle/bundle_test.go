// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package bundle_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"strconv"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/kat"
	"github.com/veraison/attested-tls/pat"
)

func TestRoundTrip(t *testing.T) {
	m := evidencetest.New(t)
	k, p := m.KAT(t), m.PAT(t)
	data, err := bundle.Encode(k, p)
	require.NoError(t, err)
	again, err := bundle.Encode(k, p)
	require.NoError(t, err)
	assert.Equal(t, data, again, "the encoding is deterministic")

	gotK, gotP, err := bundle.Decode(data)
	require.NoError(t, err)
	assert.Equal(t, k, gotK)
	assert.Equal(t, p, gotP)

	u, err := bundle.Parse(data)
	require.NoError(t, err)
	assert.Equal(t, m.KID, []byte(u.KID()))
	v, err := u.Verify(m.AK.Public(), m.Nonce)
	require.NoError(t, err)
	uk, up := u.UntrustedClaims()
	assert.Equal(t, uk, v.KAT.Claims())
	assert.Equal(t, up, v.PAT.Claims())
}

func TestEveryAlgorithm(t *testing.T) {
	rsaKey := func(bits int) crypto.Signer {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		require.NoError(t, err)
		return k
	}
	aks := map[string]crypto.Signer{
		"P-256": evidencetest.ECKey(t, elliptic.P256()), "P-384": evidencetest.ECKey(t, elliptic.P384()),
		"P-521":    evidencetest.ECKey(t, elliptic.P521()),
		"RSA 2048": rsaKey(2048), "RSA 4096": rsaKey(4096),
	}
	for name, ak := range aks {
		schemes := []tpm2.TPMAlgID{tpm2.TPMAlgECDSA}
		if _, ok := ak.(*rsa.PrivateKey); ok {
			schemes = []tpm2.TPMAlgID{tpm2.TPMAlgRSASSA, tpm2.TPMAlgRSAPSS}
		}
		for _, scheme := range schemes {
			for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
				m := evidencetest.New(t)
				m.AK, m.Scheme, m.Hash = ak, scheme, hash
				if k, ok := ak.(*rsa.PrivateKey); ok {
					m.TIK = evidencetest.RSAPublic(&k.PublicKey)
				}
				u, err := bundle.Parse(m.Bundle(t))
				require.NoError(t, err, "%s %v", name, hash)
				_, err = u.Verify(ak.Public(), m.Nonce)
				require.NoError(t, err, "%s %v", name, hash)
			}
		}
	}
}

// Each case has one defect.
func TestDecodeRefuses(t *testing.T) {
	m := evidencetest.New(t)
	k, p := m.KAT(t), m.PAT(t)
	good := m.Bundle(t)
	det, err := cbor.CoreDetEncOptions().EncMode()
	require.NoError(t, err)
	enc := func(v any) []byte {
		b, err := det.Marshal(v)
		require.NoError(t, err)
		return b
	}
	katMap := func() map[string]any {
		return map[string]any{"tpmVer": k.TPMVer, "kid": k.KID, "sig": k.Sig, "certInfo": k.CertInfo, "pubArea": k.PubArea}
	}
	patMap := map[string]any{"tpmVer": p.TPMVer, "kid": p.KID, "sig": p.Sig, "attestInfo": p.AttestInfo}
	with := func(key string, v any) []byte {
		km := katMap()
		km[key] = v
		return enc(map[string]any{"kat": km, "pat": patMap})
	}
	const prefix = "malformed: evidence is not a CBOR map of kat and pat: "
	tests := []struct {
		name, want string
		data       []byte
	}{
		{"empty", prefix + "EOF", nil},
		{"left over", prefix + "cbor: 1 bytes of extraneous data starting at index " + strconv.Itoa(len(good)), append(bytes.Clone(good), 0)},
		{"cut short", prefix + "unexpected EOF", good[:len(good)-1]},
		{"too large", "malformed: evidence of 16385 bytes, at most 16384 are read", make([]byte, bundle.MaxSize+1)},
		{"no pat", "malformed: evidence needs both tokens: kat present true, pat present false", enc(map[string]any{"kat": katMap()})},
		{"no kat", "malformed: evidence needs both tokens: kat present false, pat present true", enc(map[string]any{"pat": patMap})},
		{"null pat", "malformed: evidence needs both tokens: kat present true, pat present false", enc(map[string]any{"kat": katMap(), "pat": nil})},
		{"unknown key", prefix + "cbor: found unknown field at map element index 2", enc(map[string]any{"kat": katMap(), "pat": patMap, "xat": patMap})},
		{"unknown key in kat", prefix + "cbor: found unknown field at map element index 2", with("zzz", 1)},
		{"key of other case", prefix + "cbor: found unknown field at map element index 0", enc(map[string]any{"KAT": katMap(), "pat": patMap})},
		{"duplicate kat", prefix + `cbor: found duplicate map key "kat" at map element index 1`, bytes.Join([][]byte{{0xa2}, enc("kat"), enc(katMap()), enc("kat"), enc(katMap())}, nil)},
		{"duplicate kid", prefix + `cbor: found duplicate map key "kid" at map element index 1`, bytes.Join([][]byte{{0xa2}, enc("pat"), enc(patMap), enc("kat"), {0xa2}, enc("kid"), enc(k.KID), enc("kid"), enc(k.KID)}, nil)},
		{"indefinite map", prefix + "cbor: indefinite-length map isn't allowed", bytes.Join([][]byte{{0xbf}, good[1:], {0xff}}, nil)},
		{"indefinite string", prefix + "cbor: indefinite-length byte string isn't allowed", bytes.Join([][]byte{{0xa1}, enc("kat"), {0xa1}, enc("kid"), {0x5f}, enc([]byte{1}), {0xff}}, nil)},
		{"a tag", prefix + "cbor: CBOR tag isn't allowed", append([]byte{0xc1}, good...)},
		{"a tag within", prefix + "cbor: CBOR tag isn't allowed", with("kid", cbor.Tag{Number: 550, Content: k.KID})},
		{"array", prefix + "a CBOR array stands where another type belongs", enc([]any{katMap(), patMap})},
		{"text for bytes", prefix + "a field that holds bytes is not a CBOR byte string", with("kid", "text")},
		{"array for bytes", prefix + "a field that holds bytes is not a CBOR byte string", with("kid", []int{1, 2, 3})},
		{"bytes for text", prefix + "a CBOR byte string stands where another type belongs", with("tpmVer", []byte("2.0"))},
		{"number", prefix + "a CBOR positive integer stands where another type belongs", with("tpmVer", 2)},
		{"too deep", prefix + "cbor: exceeded max nested level 4", with("kid", [][][]int{{{1}}})},
		{"not UTF-8", prefix + "cbor: invalid UTF-8 string", append([]byte{0xa1, 0x61, 0xff}, 0)},
		{"huge length", prefix + "unexpected EOF", []byte{0xa1, 0x63, 'k', 'a', 't', 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{"huge map", prefix + "cbor: exceeded max number of key-value pairs 16 for CBOR map", []byte{0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := bundle.Decode(tt.data)
			require.EqualError(t, err, tt.want)
			var e *bundle.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, bundle.Malformed, e.Check)
		})
	}
	for name, tt := range map[string]struct{ short, long string }{
		"map":               {"\xa2\x63kat", "\xb8\x02\x63kat"},
		"map in the map":    {"\x63kat\xa5", "\x63kat\xb9\x00\x05"},
		"key":               {"\x63kat", "\x78\x03kat"},
		"text":              {"\x632.0", "\x7a\x00\x00\x00\x032.0"},
		"byte string":       {"\x63kid\x58\x21", "\x63kid\x59\x00\x21"},
		"byte string twice": {"\x63kid\x58\x21", "\x63kid\x5b\x00\x00\x00\x00\x00\x00\x00\x21"},
	} {
		t.Run("long head of a "+name, func(t *testing.T) {
			data := bytes.Replace(good, []byte(tt.short), []byte(tt.long), 1)
			require.NotEqual(t, good, data)
			_, _, err := bundle.Decode(data)
			assert.EqualError(t, err, fmt.Sprintf("malformed: evidence is not in its shortest form: %d bytes where %d will do", len(data), len(good)))
		})
	}
	t.Run("missing field", func(t *testing.T) {
		km := katMap()
		delete(km, "sig")
		_, err := bundle.Parse(enc(map[string]any{"kat": km, "pat": patMap}))
		assert.EqualError(t, err, "kat: malformed: sig: TPMT_SIGNATURE: sigAlg: need 2 bytes, have 0")
	})
}

func TestParseRefusesTwoKeys(t *testing.T) {
	m := evidencetest.New(t)
	m.OnPAT = func(p *pat.Token) { p.KID = append([]byte{1}, make([]byte, 32)...) }
	_, err := bundle.Parse(m.Bundle(t))
	assert.EqualError(t, err, "kid: kat.kid and pat.kid name different attestation keys")
}

// A fresh token of one kind does not carry a stale one of the other.
func TestVerifyRefusesHalfFresh(t *testing.T) {
	m := evidencetest.New(t)
	freshKAT, freshPAT := m.KAT(t), m.PAT(t)
	old := *m
	old.Nonce = make([]byte, 32)
	for name, tokens := range map[string]struct {
		k kat.Token
		p pat.Token
	}{
		"kat": {old.KAT(t), freshPAT},
		"pat": {freshKAT, old.PAT(t)},
	} {
		data, err := bundle.Encode(tokens.k, tokens.p)
		require.NoError(t, err)
		u, err := bundle.Parse(data)
		require.NoError(t, err)
		v, err := u.Verify(m.AK.Public(), m.Nonce)
		assert.Zero(t, v)
		assert.EqualError(t, err, name+": stale: extraData is not this session's nonce: the evidence is stale or was made for another session")
	}
}

// Veraison's and Parsec's encoders order the keys in ways of their own.
func TestAnyKeyOrder(t *testing.T) {
	m := evidencetest.New(t)
	k, p := m.KAT(t), m.PAT(t)
	enc, err := cbor.EncOptions{Sort: cbor.SortNone}.EncMode()
	require.NoError(t, err)
	data, err := enc.Marshal(struct {
		PAT any `cbor:"pat"`
		KAT any `cbor:"kat"`
	}{
		struct {
			AttestInfo []byte `cbor:"attestInfo"`
			Sig        []byte `cbor:"sig"`
			KID        []byte `cbor:"kid"`
			TPMVer     string `cbor:"tpmVer"`
		}{p.AttestInfo, p.Sig, p.KID, p.TPMVer},
		struct {
			PubArea  []byte `cbor:"pubArea"`
			CertInfo []byte `cbor:"certInfo"`
			Sig      []byte `cbor:"sig"`
			KID      []byte `cbor:"kid"`
			TPMVer   string `cbor:"tpmVer"`
		}{k.PubArea, k.CertInfo, k.Sig, k.KID, k.TPMVer},
	})
	require.NoError(t, err)
	gotK, gotP, err := bundle.Decode(data)
	require.NoError(t, err)
	assert.Equal(t, k, gotK)
	assert.Equal(t, p, gotP)
}

func FuzzParse(f *testing.F) {
	m := evidencetest.New(f)
	f.Add(m.Bundle(f))
	f.Add([]byte{0xa0})
	stranger := evidencetest.New(f).AK.Public()
	f.Fuzz(func(t *testing.T, data []byte) {
		k, p, err := bundle.Decode(data)
		if err != nil {
			var e *bundle.Error
			if !assert.ErrorAs(t, err, &e) {
				t.Fatal(err)
			}
			return
		}
		again, err := bundle.Encode(k, p)
		if err != nil {
			t.Fatal(err)
		}
		k2, p2, err := bundle.Decode(again)
		if err != nil || !assert.ObjectsAreEqual(k, k2) || !assert.ObjectsAreEqual(p, p2) {
			t.Fatalf("%s does not survive encoding: %v", hex.EncodeToString(data), err)
		}
		if len(data) > len(again) {
			t.Fatalf("%s has another encoding than its keys' order explains", hex.EncodeToString(data))
		}
		u, err := bundle.Parse(data)
		if err != nil {
			return
		}
		if _, err := u.Verify(stranger, m.Nonce); err == nil {
			t.Fatal("forged")
		}
	})
}
