// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsement_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/services/handler"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/plugin/endorsement"
	"github.com/veraison/attested-tls/plugin/evidence"
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

func FuzzDecode(f *testing.F) {
	f.Add(corim(f, nil))
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var text bytes.Buffer
		rsp, err := endorsement.NewHandler(hclog.New(&hclog.LoggerOptions{Output: &text}), nil).Decode(data)
		if strings.Contains(text.String(), "panicked") {
			t.Fatal(text.String())
		}
		if (err == nil) != (rsp != nil) {
			t.Fatal(rsp, err)
		}
	})
}
