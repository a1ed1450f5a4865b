// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/plugin/internal/store"
)

const (
	class = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"
	kid   = "AYiFVFnuuemzSkbrSMs58vaqadoEUioybRI9XFAfziEM"
	pem   = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2lB1xtcIWePIt/Wwt+s8Ybp+5ji8\nt2pzGDKSOG7xTGK5gOYkcLCHz4i4L/yGzyEmBO1mZFZNuJz14X0J24+XQQ==\n-----END PUBLIC KEY-----\n"
)

// stored is an entry as the VTS keeps it.
func stored(kind, attributes string) string {
	return `{"scheme":"PARSEC_TPM","type":"` + kind + `","subType":"","attributes":` + attributes + `}`
}

// What Veraison's own plugin makes of this anchor.
func anchorEntry() string {
	text, _ := json.Marshal(pem)
	return `{"parsec-tpm.ak-pub":` + string(text) + `,"parsec-tpm.class-id":"` + class + `","parsec-tpm.instance-id":"` + kid + `"}`
}

func pcrEntry(alg, pcr, digest string) string {
	return stored("reference value", `{"parsec-tpm.alg-id":`+alg+`,"parsec-tpm.class-id":"`+class+`","parsec-tpm.digest":"`+digest+`","parsec-tpm.pcr":`+pcr+`}`)
}

var (
	digest1 = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("1", 32)))
	digest2 = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("2", 32)))
	sha384  = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("3", 48)))
)

// A store that Veraison's own plugin filled must be found and read, and what is
// provisioned again must not become a second entry.
func TestAnchorsAreVeraisons(t *testing.T) {
	id, err := base64.StdEncoding.DecodeString(kid)
	require.NoError(t, err)
	a, err := endorsements.NewTrustAnchor(class, id, pem)
	require.NoError(t, err)
	attributes, err := store.EncodeAnchor(a)
	require.NoError(t, err)
	assert.Equal(t, anchorEntry(), string(attributes))

	key, err := store.AnchorKeyOf("0", attributes)
	require.NoError(t, err)
	assert.Equal(t, "PARSEC_TPM://0/"+kid, key)
	assert.Equal(t, key, store.AnchorKey("0", id))
	assert.Equal(t, "PARSEC_TPM://1/"+class, store.ClassKey("1", class))
	// Base64 has a slash, which the key does not escape.
	assert.Equal(t, "PARSEC_TPM://0/"+strings.Repeat("/", 3), store.AnchorKey("0", []byte{0xff, 0xff, 0xff}))

	for _, kind := range []string{"trust anchor", "VERIFICATION_KEY"} {
		anchors, err := store.DecodeAnchors([]string{stored(kind, anchorEntry())})
		require.NoError(t, err)
		assert.Equal(t, []endorsements.TrustAnchor{a}, anchors)
		classes, err := store.AnchorClasses([]string{stored(kind, anchorEntry()), stored(kind, anchorEntry())})
		require.NoError(t, err)
		assert.Equal(t, []string{class}, classes)
	}
}

func state(t *testing.T, values ...endorsements.PCRValue) endorsements.ReferenceState {
	t.Helper()
	s, err := endorsements.NewReferenceState(class, values)
	require.NoError(t, err)
	return s
}

func value(bank crypto.Hash, index int, fill string) endorsements.PCRValue {
	return endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: index}, Digest: []byte(strings.Repeat(fill, bank.Size()))}
}

func TestStatesRoundTrip(t *testing.T) {
	s := state(t, value(crypto.SHA256, 0, "1"), value(crypto.SHA256, 23, "2"), value(crypto.SHA384, 0, "3"), value(crypto.SHA512, 7, "4"))
	attributes, err := store.EncodeState(s)
	require.NoError(t, err)
	assert.Equal(t, `{"parsec-tpm.class-id":"`+class+`","parsec-tpm.pcrs":"sha256:0=`+strings.Repeat("31", 32)+`,23=`+strings.Repeat("32", 32)+
		`+sha384:0=`+strings.Repeat("33", 48)+`+sha512:7=`+strings.Repeat("34", 64)+`"}`, string(attributes))
	again, err := store.EncodeState(s)
	require.NoError(t, err)
	assert.Equal(t, attributes, again, "what is provisioned again must not become a second entry")

	key, err := store.ClassKeyOf("0", attributes)
	require.NoError(t, err)
	assert.Equal(t, "PARSEC_TPM://0/"+class, key)

	states, skipped, err := store.DecodeStates([]string{stored("reference value", string(attributes))})
	require.NoError(t, err)
	require.NoError(t, skipped)
	assert.Equal(t, []endorsements.ReferenceState{s}, states)
}

func TestNoStates(t *testing.T) {
	states, skipped, err := store.DecodeStates(nil)
	assert.Empty(t, states)
	assert.NoError(t, skipped)
	assert.NoError(t, err)
}

func TestVeraisonsEntriesAreOneState(t *testing.T) {
	want := state(t, value(crypto.SHA256, 0, "1"), value(crypto.SHA256, 1, "2"), value(crypto.SHA384, 0, "3"))
	entries := []string{pcrEntry("1", "1", digest2), pcrEntry("1", "0", digest1), pcrEntry("7", "0", sha384)}
	states, skipped, err := store.DecodeStates(entries)
	require.NoError(t, err)
	require.NoError(t, skipped)
	assert.Equal(t, []endorsements.ReferenceState{want}, states)

	old := strings.ReplaceAll(entries[0], "reference value", "REFERENCE_VALUE")
	states, _, err = store.DecodeStates([]string{old})
	require.NoError(t, err)
	assert.Equal(t, "sha256:1", states[0].String())
}

// Two states of Veraison's plugin cannot be told apart, and no mixture of them
// may match.
func TestVeraisonsEntriesOfTwoStates(t *testing.T) {
	entries := []string{pcrEntry("1", "0", digest1), pcrEntry("1", "1", digest1), pcrEntry("1", "1", digest2)}
	states, skipped, err := store.DecodeStates(entries)
	assert.Empty(t, states)
	assert.NoError(t, skipped)
	require.ErrorIs(t, err, store.ErrAmbiguous)
	assert.EqualError(t, err, "the store holds reference values of Veraison's parsec-tpm plugin that cannot be told apart into states: "+
		"provision the class's reference values anew: class "+class+" has two values for sha256:1")

	// What the operator provisions anew is used, the old entries are not.
	anew := state(t, value(crypto.SHA256, 0, "1"), value(crypto.SHA256, 1, "2"))
	attributes, err := store.EncodeState(anew)
	require.NoError(t, err)
	states, skipped, err = store.DecodeStates(append(entries, stored("reference value", string(attributes))))
	require.NoError(t, err)
	assert.ErrorIs(t, skipped, store.ErrAmbiguous)
	assert.Equal(t, []endorsements.ReferenceState{anew}, states)
}

// Each case has one defect.
func TestDecodeStatesRefuses(t *testing.T) {
	ours := func(pcrs string) string {
		return stored("reference value", `{"parsec-tpm.class-id":"`+class+`","parsec-tpm.pcrs":"`+pcrs+`"}`)
	}
	good := strings.Repeat("31", 32)
	const entry0 = "stored reference value 0: "
	for name, tt := range map[string]struct{ entry, want string }{
		"not JSON":            {"?", entry0 + "decoding JSON: invalid character '?' looking for beginning of value"},
		"another scheme's":    {strings.Replace(ours("x"), "PARSEC_TPM", "OTHER", 1), entry0 + `is a "reference value" of scheme "OTHER", want a "reference value" of "PARSEC_TPM"`},
		"a trust anchor":      {stored("trust anchor", anchorEntry()), entry0 + `is a "trust anchor" of scheme "PARSEC_TPM", want a "reference value" of "PARSEC_TPM"`},
		"both forms":          {stored("reference value", `{"parsec-tpm.class-id":"`+class+`","parsec-tpm.pcrs":"sha256:0=`+good+`","parsec-tpm.pcr":0}`), entry0 + "is of both this and Veraison's own plugin's form"},
		"no bank":             {ours("0=" + good), entry0 + `PCRs "0=313131313131313131" have no bank`},
		"SHA-1":               {ours("sha1:0=" + good), entry0 + "PCR bank: hash algorithm sha1 is not accepted: want sha256, sha384 or sha512"},
		"no digest":           {ours("sha256:0"), entry0 + `PCR "0" of bank sha256 is not index=digest`},
		"PCR 32":              {ours("sha256:32=" + good), entry0 + `PCR "32=31313131313131313" of bank sha256 is not index=digest`},
		"digest not hex":      {ours("sha256:0=zz"), entry0 + "PCR 0 of bank sha256: encoding/hex: invalid byte: U+007A 'z'"},
		"digest too short":    {ours("sha256:0=3131"), entry0 + "values[0]: expected the 32 bytes of sha256, found 2 bytes"},
		"PCR twice":           {ours("sha256:0=" + good + ",0=" + good), entry0 + "values[1]: PCR sha256:0 occurs twice in one state; put the values of a second firmware version into a reference value triple of its own"},
		"class not a UUID":    {strings.Replace(ours("sha256:0="+good), class, "x", 1), entry0 + `class: expected a UUID such as cd1f0e55-26f9-460d-b9d8-f7fde171787c, found "x"`},
		"nothing at all":      {stored("reference value", `{}`), "the store holds a reference value that is incomplete or of another class"},
		"null":                {stored("reference value", `null`), "the store holds a reference value that is incomplete or of another class"},
		"old without a PCR":   {strings.Replace(pcrEntry("1", "0", digest1), `,"parsec-tpm.pcr":0`, "", 1), "the store holds a reference value that is incomplete or of another class"},
		"old PCR 32":          {pcrEntry("1", "32", digest1), "the store holds a reference value that is incomplete or of another class"},
		"old negative PCR":    {pcrEntry("1", "-1", digest1), entry0 + `decoding JSON: "attributes.parsec-tpm.pcr" is a number -1 where another type belongs`},
		"old SHA-256/128":     {pcrEntry("2", "0", digest1), "digest algorithm 2 is not accepted: want 1 (sha-256), 7 (sha-384) or 8 (sha-512)"},
		"old digest's length": {pcrEntry("7", "0", digest1), "values[0]: expected the 48 bytes of sha384, found 32 bytes"},
		"old without digest":  {pcrEntry("1", "0", ""), "values[0]: expected the 32 bytes of sha256, found 0 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			states, _, err := store.DecodeStates([]string{tt.entry})
			assert.Empty(t, states)
			assert.EqualError(t, err, tt.want)
		})
	}
	t.Run("old of two classes", func(t *testing.T) {
		elsewhere := strings.Replace(pcrEntry("1", "1", digest1), class, strings.Replace(class, "c", "d", 1), 1)
		_, _, err := store.DecodeStates([]string{pcrEntry("1", "0", digest1), elsewhere})
		assert.EqualError(t, err, "the store holds a reference value that is incomplete or of another class")
	})
}

// Each case has one defect.
func TestDecodeAnchorsRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ entry, want string }{
		"not JSON":          {"", "stored trust anchor 0: decoding JSON: unexpected end of JSON input"},
		"a reference value": {pcrEntry("1", "0", digest1), `stored trust anchor 0: is a "reference value" of scheme "PARSEC_TPM", want a "trust anchor" of "PARSEC_TPM"`},
		"no key":            {stored("trust anchor", strings.Replace(anchorEntry(), "ak-pub", "x", 1)), "stored trust anchor 0: key: expected one PEM block PUBLIC KEY, found something else at the start"},
		"private key":       {stored("trust anchor", strings.ReplaceAll(anchorEntry(), "PUBLIC KEY", "PRIVATE KEY")), `stored trust anchor 0: key: expected one PEM block PUBLIC KEY, found a block "PRIVATE KEY"`},
		"kid not a UEID":    {stored("trust anchor", strings.Replace(anchorEntry(), kid, "AAAA", 1)), "stored trust anchor 0: kid: expected a UEID (RFC 9711, 4.2.1): invalid UEID type 0"},
	} {
		t.Run(name, func(t *testing.T) {
			anchors, err := store.DecodeAnchors([]string{tt.entry})
			assert.Nil(t, anchors)
			assert.EqualError(t, err, tt.want)
		})
	}
	classes, err := store.AnchorClasses([]string{stored("trust anchor", "{}")})
	assert.Nil(t, classes)
	assert.EqualError(t, err, "stored trust anchor 0: has no class")
	for _, text := range []string{"", "{}", "null", "[]", `{"parsec-tpm.class-id":1}`} {
		_, err := store.AnchorKeyOf("0", json.RawMessage(text))
		assert.Error(t, err, text)
		_, err = store.ClassKeyOf("0", json.RawMessage(text))
		assert.Error(t, err, text)
	}
}

func FuzzDecodeStates(f *testing.F) {
	attributes, err := store.EncodeState(must(endorsements.NewReferenceState(class, []endorsements.PCRValue{value(crypto.SHA256, 0, "1"), value(crypto.SHA512, 1, "2")})))
	require.NoError(f, err)
	f.Add(stored("reference value", string(attributes)), pcrEntry("1", "0", digest1))
	f.Fuzz(func(t *testing.T, first, second string) {
		states, _, err := store.DecodeStates([]string{first, second})
		if err != nil {
			return
		}
		for _, s := range states {
			attributes, err := store.EncodeState(s)
			if err != nil {
				t.Fatal(err)
			}
			again, _, err := store.DecodeStates([]string{stored("reference value", string(attributes))})
			if err != nil || len(again) != 1 || !assert.ObjectsAreEqual(s, again[0]) {
				t.Fatalf("%s does not survive its entry: %v", s, err)
			}
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
