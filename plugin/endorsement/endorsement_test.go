// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsement_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/services/handler"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/endorsements/signed"
	"github.com/veraison/attested-tls/plugin/endorsement"
	"github.com/veraison/attested-tls/plugin/evidence"
	"github.com/veraison/attested-tls/plugin/internal/config"
)

const class = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"

func corim(t testing.TB, change func(*endorsements.Corim)) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	pem, err := endorsements.MarshalKeyPEM(&key.PublicKey)
	require.NoError(t, err)
	a, err := endorsements.NewTrustAnchor(class, append([]byte{1}, make([]byte, 32)...), pem)
	require.NoError(t, err)
	c := &endorsements.Corim{ID: "test", Anchors: []endorsements.TrustAnchor{a}}
	for _, fill := range []byte{1, 2} { // two firmware versions
		s, err := endorsements.NewReferenceState(class, []endorsements.PCRValue{
			{PCR: endorsements.PCR{Bank: crypto.SHA256, Index: 0}, Digest: bytes.Repeat([]byte{fill}, 32)},
			{PCR: endorsements.PCR{Bank: crypto.SHA384, Index: 0}, Digest: bytes.Repeat([]byte{fill}, 48)},
		})
		require.NoError(t, err)
		c.States = append(c.States, s)
	}
	if change != nil {
		change(c)
	}
	data, err := c.Encode(endorsements.DialectV1)
	require.NoError(t, err)
	return data
}

func TestDecode(t *testing.T) {
	h := endorsement.NewHandler(nil, nil)
	data := corim(t, nil)
	rsp, err := h.Decode(data)
	require.NoError(t, err)
	require.Len(t, rsp.TrustAnchors, 1)
	require.Len(t, rsp.ReferenceValues, 2, "a state is one entry, with every digest")
	assert.Contains(t, string(rsp.ReferenceValues[0].Attributes), "sha384:0="+strings.Repeat("01", 48))
	again, err := h.Decode(data)
	require.NoError(t, err)
	assert.Equal(t, rsp, again)

	// The store-handler, in another process, finds its way with the JSON.
	text, err := json.Marshal(rsp)
	require.NoError(t, err)
	var travelled handler.EndorsementHandlerResponse
	require.NoError(t, json.Unmarshal(text, &travelled))
	st := evidence.NewStoreHandler(nil)
	keys, err := st.SynthKeysFromTrustAnchor("0", &travelled.TrustAnchors[0])
	require.NoError(t, err)
	assert.Equal(t, []string{"PARSEC_TPM://0/AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, keys)
	keys, err = st.SynthKeysFromRefValue("0", &travelled.ReferenceValues[1])
	require.NoError(t, err)
	assert.Equal(t, []string{"PARSEC_TPM://0/" + class}, keys)
}

func TestValidity(t *testing.T) {
	from, until := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	data := corim(t, func(c *endorsements.Corim) { c.NotBefore, c.NotAfter = from, until })
	at := func(now time.Time) error {
		_, err := endorsement.NewHandler(nil, func() time.Time { return now }).Decode(data)
		return err
	}
	assert.NoError(t, at(from))
	assert.NoError(t, at(until))
	assert.ErrorIs(t, at(from.Add(-time.Second)), endorsements.ErrNotYetValid)
	assert.ErrorIs(t, at(until.Add(time.Second)), endorsements.ErrExpired)
}

func TestRefuses(t *testing.T) {
	var text bytes.Buffer
	h := endorsement.NewHandler(hclog.New(&hclog.LoggerOptions{Output: &text}), nil)
	for _, data := range [][]byte{nil, []byte("garbage"), make([]byte, endorsements.MaxCorimSize+1), corim(t, nil)[1:]} {
		rsp, err := h.Decode(data)
		assert.Nil(t, rsp)
		assert.Error(t, err)
	}
	assert.Equal(t, 4, strings.Count(text.String(), "CoRIM refused"))
	assert.NotContains(t, text.String(), "panicked")
}

func TestNames(t *testing.T) {
	h := endorsement.NewHandler(nil, nil)
	assert.NoError(t, h.Init(nil))
	assert.Equal(t, "PARSEC_TPM", h.GetAttestationScheme())
	assert.Equal(t, []string{`application/corim-unsigned+cbor; profile="tag:github.com/parallaxsecond,2023-03-03:tpm"`}, h.GetSupportedMediaTypes())
	assert.NotEmpty(t, h.GetName())
	assert.NoError(t, h.Close())
}

func TestDialectV2(t *testing.T) {
	data := corim(t, nil)
	converted, err := endorsements.Convert(data, endorsements.DialectV2)
	require.NoError(t, err)
	h := endorsement.NewHandler(nil, nil)
	want, err := h.Decode(data)
	require.NoError(t, err)
	got, err := h.Decode(converted)
	require.NoError(t, err)
	assert.Equal(t, want, got, "what is stored depends on the dialect")
}

func signedBy(t testing.TB, key crypto.Signer, data []byte, chain ...[]byte) []byte {
	t.Helper()
	data, err := signed.Sign(data, key, signed.Options{Signer: endorsements.Signer{Name: "says the signer"}, Chain: chain})
	require.NoError(t, err)
	return data
}

func limits(c config.Config) config.Config {
	d := config.Default()
	c.MaxCorimSize, c.MaxTrustAnchors, c.MaxReferenceStates = d.MaxCorimSize, d.MaxTrustAnchors, d.MaxReferenceStates
	return c
}

func TestSigned(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	_, other, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "signer"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, other.Public(), other)
	require.NoError(t, err)
	leaf, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)

	unsigned := corim(t, nil)
	want, err := endorsement.NewHandler(nil, nil).Decode(unsigned)
	require.NoError(t, err)
	strict := limits(config.Config{Signers: []config.Signer{{Name: "somebody", Key: other.Public()}, {Name: "the operator's name", Key: key.Public()}}})
	open := limits(config.Config{AcceptUnsigned: true, Roots: roots})

	for name, test := range map[string]struct {
		cfg  config.Config
		data []byte
		log  string
	}{
		"signed by a key":         {strict, signedBy(t, key, unsigned), `signer="the operator's name"`},
		"signed by a certificate": {open, signedBy(t, other, unsigned, der), `signer=CN=signer`},
		"unsigned":                {open, unsigned, "signer=none"},
	} {
		t.Run(name, func(t *testing.T) {
			var text bytes.Buffer
			rsp, err := endorsement.NewHandlerWith(test.cfg, hclog.New(&hclog.LoggerOptions{Output: &text}), nil).Decode(test.data)
			require.NoError(t, err)
			assert.Equal(t, want, rsp)
			assert.Contains(t, text.String(), test.log)
		})
	}
	small, few, fewer := strict, strict, strict
	small.MaxCorimSize, few.MaxTrustAnchors, fewer.MaxReferenceStates = 100, 0, 1
	const size = "bytes; expected at most 100"
	for name, test := range map[string]struct {
		cfg  config.Config
		data []byte
		is   error
		want string
	}{
		"unsigned":             {strict, unsigned, endorsements.ErrUnsigned, "the plugin's configuration accepts signed CoRIMs only"},
		"untrusted":            {open, signedBy(t, key, unsigned), signed.ErrUntrusted, ""},
		"nobody trusted":       {config.Default(), signedBy(t, key, unsigned), nil, "the CoRIM is signed, but the plugin's configuration names nobody whose signature to trust"},
		"no configuration":     {config.Config{}, unsigned, nil, "bytes; expected at most 0"},
		"nothing accepted":     {limits(config.Config{}), unsigned, endorsements.ErrUnsigned, ""},
		"nothing signed":       {limits(config.Config{}), signedBy(t, key, unsigned), nil, "names nobody whose signature to trust"},
		"too large":            {small, signedBy(t, key, unsigned), nil, size},
		"too many anchors":     {few, signedBy(t, key, unsigned), nil, "1 trust anchors; the plugin's configuration accepts at most 0 in a CoRIM"},
		"too many states":      {fewer, signedBy(t, key, unsigned), nil, "2 reference states; the plugin's configuration accepts at most 1 in a CoRIM"},
		"garbage":              {strict, []byte{0xd2, 0x84}, nil, "not well-formed CBOR"},
		"expired, when signed": {strict, signedBy(t, key, corim(t, func(c *endorsements.Corim) { c.NotAfter = time.Unix(0, 0) })), endorsements.ErrExpired, ""},
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			rsp, err := endorsement.NewHandlerWith(test.cfg, nil, nil).Decode(test.data)
			assert.Nil(t, rsp)
			require.ErrorContains(t, err, test.want)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
		})
	}

	const unsignedType = `application/corim-unsigned+cbor; profile="tag:github.com/parallaxsecond,2023-03-03:tpm"`
	const signedType = `application/corim-signed+cbor; profile="tag:github.com/parallaxsecond,2023-03-03:tpm"`
	types := func(c config.Config) []string {
		return endorsement.NewHandlerWith(c, nil, nil).GetSupportedMediaTypes()
	}
	assert.Equal(t, []string{unsignedType, signedType}, types(open))
	assert.Equal(t, []string{signedType}, types(strict))
	assert.Empty(t, types(config.Config{}))
}

func FuzzDecode(f *testing.F) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(f, err)
	f.Add(corim(f, nil))
	f.Add(signedBy(f, key, corim(f, nil)))
	cfg := limits(config.Config{AcceptUnsigned: true, Signers: []config.Signer{{Name: "x", Key: key.Public()}}, Roots: x509.NewCertPool()})
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var text bytes.Buffer
		rsp, err := endorsement.NewHandlerWith(cfg, hclog.New(&hclog.LoggerOptions{Output: &text}), nil).Decode(data)
		if strings.Contains(text.String(), "panicked") {
			t.Fatal(text.String())
		}
		if (err == nil) != (rsp != nil) {
			t.Fatal(rsp, err)
		}
	})
}
