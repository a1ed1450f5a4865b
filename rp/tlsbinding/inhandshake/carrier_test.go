// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/internal/seedwire"
)

// A block of any size that is allowed is split into entries that ALPN allows,
// and put together again.
func TestALPN(t *testing.T) {
	for _, d := range []seedwire.Draft{seedwire.Draft02, seedwire.Draft07} {
		for _, size := range []int{0, 1, maxFragment - 1, maxFragment, maxFragment + 1, maxFragments * maxFragment} {
			block := bytes.Repeat([]byte{0xfb}, size)
			entries, err := toALPN(d, block)
			require.NoError(t, err)
			require.Len(t, entries, (size+maxFragment-1)/maxFragment)
			for _, e := range entries {
				require.LessOrEqual(t, len(e), maxProto)
			}
			application, got, back, err := fromALPN(slices.Concat([]string{"h2"}, entries, []string{"http/1.1"}))
			require.NoError(t, err)
			require.Equal(t, []string{"h2", "http/1.1"}, application)
			require.True(t, bytes.Equal(block, back))
			require.Equal(t, size > 0, got == d)
		}
	}
	_, err := toALPN(seedwire.Draft07, make([]byte, maxFragments*maxFragment+1))
	require.ErrorContains(t, err, "name fewer")

	// The longest that the drafts allow has room.
	longest := seedwire.ClientHello{
		EvidenceRequest: &seedwire.EvidenceRequest{
			Supported: []seedwire.EvidenceType{mediaType(seedwire.Draft07, strings.Repeat("x", 251), seedwire.Attestation)},
			Nonce:     make([]byte, 255),
		},
		EvidenceProposal: []seedwire.EvidenceType{mediaType(seedwire.Draft07, strings.Repeat("x", 251), seedwire.Attestation)},
		ResultsRequest:   []string{strings.Repeat("v", 253)},
		ResultsProposal:  []string{strings.Repeat("v", 253)},
	}
	entries, err := toALPN(seedwire.Draft07, marshal(t, seedwire.Draft07, &longest))
	require.NoError(t, err)
	require.LessOrEqual(t, len(entries), maxFragments)
}

func TestNames(t *testing.T) {
	verifier := "v1"
	h := seedwire.ServerHello{ResultsRequest: &verifier}
	der, err := toName(seedwire.Draft07, &h)
	require.NoError(t, err)
	back, err := fromName(seedwire.Draft07, der)
	require.NoError(t, err)
	require.Equal(t, &h, back)
	_, err = fromName(seedwire.Draft02, der)
	require.ErrorContains(t, err, "answers in")

	name := func(oid asn1.ObjectIdentifier, value any) []byte {
		der, err := asn1.Marshal(pkix.RDNSequence{{{Type: oid, Value: value}}})
		require.NoError(t, err)
		return der
	}
	text := tag(seedwire.Draft07) + "_6MABAACdjE"
	back, err = fromName(seedwire.Draft07, name(oidDescription, text))
	require.NoError(t, err)
	require.Equal(t, &h, back)
	for title, der := range map[string][]byte{
		"empty":              {},
		"no name":            {1},
		"another attribute":  name(asn1.ObjectIdentifier{2, 5, 4, 3}, text),
		"another text":       name(oidDescription, "a CA"),
		"bytes behind it":    append(name(oidDescription, text), 0),
		"more than is read":  name(oidDescription, strings.Repeat(text, 600)),
		"two of them":        mustMarshal(t, pkix.RDNSequence{{{Type: oidDescription, Value: text}}, {{Type: oidDescription, Value: text}}}),
		"not a text":         name(oidDescription, 7),
		"an attribute of CA": newAuthority(t).cert.RawSubject,
	} {
		got, err := fromName(seedwire.Draft07, der)
		require.NoError(t, err, title)
		require.Nil(t, got, title)
	}
	for title, text := range map[string]string{
		"not base64":   tag(seedwire.Draft07) + "!",
		"cut short":    tag(seedwire.Draft07) + "_6MABAAC",
		"another form": tag(seedwire.Draft07) + "_6MABAACdjE=",
	} {
		_, err := fromName(seedwire.Draft07, name(oidDescription, text))
		require.ErrorContains(t, err, "the server's extensions", title)
	}
}

func mustMarshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	require.NoError(t, err)
	return der
}

func FuzzALPN(f *testing.F) {
	f.Add("h2", "attested-tls/02:AAAA")
	f.Add("attested-tls/07:_6MABAACdjE", "attested-tls/07:")
	f.Add("attested-tls/07:AA", "attested-tls/02:AA")
	f.Fuzz(func(t *testing.T, a, b string) {
		application, d, block, err := fromALPN([]string{a, b})
		if err != nil {
			return
		}
		for _, p := range application {
			require.False(t, isCarrier(p))
		}
		if d == 0 {
			require.Empty(t, block)
			return
		}
		entries, err := toALPN(d, block)
		require.NoError(t, err)
		_, again, back, err := fromALPN(entries)
		require.NoError(t, err)
		require.True(t, bytes.Equal(block, back))
		require.True(t, again == d || len(block) == 0)
	})
}

func FuzzName(f *testing.F) {
	verifier := "v1"
	for _, h := range []seedwire.ServerHello{{}, {ResultsRequest: &verifier}, {Unsupported: &seedwire.Unsupported{}}} {
		der, err := toName(seedwire.Draft07, &h)
		require.NoError(f, err)
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		h, err := fromName(seedwire.Draft07, der)
		if err != nil {
			require.Nil(t, h)
		}
		if h == nil {
			return
		}
		again, err := toName(seedwire.Draft07, h)
		require.NoError(t, err)
		back, err := fromName(seedwire.Draft07, again)
		require.NoError(t, err)
		require.Equal(t, h, back)
	})
}

// What a certificate carries, as it comes from the peer.
func FuzzCMWExtension(f *testing.F) {
	m := newMachine(f)
	record, err := m.Attest(f.Context(), make([]byte, 32))
	require.NoError(f, err)
	f.Add(mustMarshal(f, record))
	text, err := asn1.MarshalWithParams(`["a/b","AAAA",4]`, "utf8")
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte{4, 0})
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := unwrap(value)
		if err != nil {
			return
		}
		require.NotEmpty(t, r.Type)
		require.NotEmpty(t, r.Value)
	})
}

// The certificate that carries evidence is one that crypto/x509 reads, for the
// attested key, and no signature of that key is in it.
func TestEvidenceCertificate(t *testing.T) {
	mint, err := newMint()
	require.NoError(t, err)
	key := evidencetest.ECKey(t, elliptic.P384())
	issuer, err := toName(seedwire.Draft07, &seedwire.ServerHello{})
	require.NoError(t, err)
	der, err := mint.evidence(key.Public(), issuer, []byte("record"))
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	assert.True(t, key.PublicKey.Equal(cert.PublicKey))
	assert.Equal(t, issuer, cert.RawIssuer)
	require.NoError(t, cert.CheckSignatureFrom(&x509.Certificate{PublicKey: mint.key.Public(), PublicKeyAlgorithm: x509.ECDSA}))
	require.Error(t, cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, nil))
}
