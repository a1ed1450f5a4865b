// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
	"github.com/veraison/corim/comid"

	. "github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/pluginhost"
)

const (
	tripleClass      = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"
	otherTripleClass = "d10e4bd6-7e02-4d2c-bf1a-69ae22680478"
)

func tripleKID() []byte { return append([]byte{1}, bytes.Repeat([]byte{0xaa}, 32)...) }

func tripleAnchor(t testing.TB, class string) TrustAnchor {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	pem, err := MarshalKeyPEM(&key.PublicKey)
	require.NoError(t, err)
	a, err := NewTrustAnchor(class, tripleKID(), pem)
	require.NoError(t, err)
	return a
}

func tripleState(t testing.TB, class string, fill byte) ReferenceState {
	t.Helper()
	var values []PCRValue
	for _, bank := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		for _, index := range []int{0, 7, 23} {
			values = append(values, PCRValue{PCR: PCR{Bank: bank, Index: index}, Digest: bytes.Repeat([]byte{fill}, bank.Size())})
		}
	}
	s, err := NewReferenceState(class, values)
	require.NoError(t, err)
	return s
}

// keyTriples and valueTriples are written as a host does, with Veraison's
// module.
func keyTriples(t testing.TB, anchors ...TrustAnchor) []byte {
	t.Helper()
	var triples []*comid.KeyTriple
	for _, a := range anchors {
		triple, err := pluginhost.KeyTriple(a)
		require.NoError(t, err)
		triples = append(triples, triple)
	}
	data, err := cbor.Marshal(triples)
	require.NoError(t, err)
	return data
}

func valueTriples(t testing.TB, states ...ReferenceState) []byte {
	t.Helper()
	var triples []*comid.ValueTriple
	for _, s := range states {
		triple, err := pluginhost.ValueTriple(s)
		require.NoError(t, err)
		triples = append(triples, triple)
	}
	data, err := cbor.Marshal(triples)
	require.NoError(t, err)
	return data
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	data, err := hex.DecodeString(s)
	require.NoError(t, err)
	return data
}

func TestDecodeRecordedTriples(t *testing.T) {
	anchors, _, err := DecodeKeyTriples(unhex(t, pluginhost.RecordedTrustAnchors))
	require.NoError(t, err)
	require.Len(t, anchors, 1)
	require.Equal(t, tripleClass, anchors[0].Class)
	require.Equal(t, "0188855459eeb9e9b34a46eb48cb39f2f6aa69da04522a326d123d5c501fce210c", hex.EncodeToString(anchors[0].KID))
	require.Equal(t, elliptic.P256(), anchors[0].Key.(*ecdsa.PublicKey).Curve)

	states, err := DecodeValueTriples(unhex(t, pluginhost.RecordedEndorsements))
	require.NoError(t, err)
	require.Len(t, states, 1)
	require.Equal(t, tripleClass, states[0].Class())
	require.Equal(t, "sha256:0,1", states[0].String())
	require.Equal(t, make([]byte, 32), states[0].Values()[1].Digest)
}

func TestDecodeTriples(t *testing.T) {
	anchor := tripleAnchor(t, tripleClass)
	one, two := tripleState(t, tripleClass, 1), tripleState(t, tripleClass, 2)

	anchors, _, err := DecodeKeyTriples(keyTriples(t, anchor))
	require.NoError(t, err)
	require.Equal(t, []TrustAnchor{anchor}, anchors)
	states, err := DecodeValueTriples(valueTriples(t, two, one))
	require.NoError(t, err)
	require.Equal(t, []ReferenceState{two, one}, states)

	// What a store holds twice counts once.
	anchors, _, err = DecodeKeyTriples(keyTriples(t, anchor, anchor))
	require.NoError(t, err)
	require.Equal(t, []TrustAnchor{anchor}, anchors)
	states, err = DecodeValueTriples(valueTriples(t, one, two, one))
	require.NoError(t, err)
	require.Equal(t, []ReferenceState{one, two}, states)

	// A store that has nothing writes null, or no elements.
	for _, none := range [][]byte{{0xf6}, {0x80}} {
		anchors, _, err = DecodeKeyTriples(none)
		require.NoError(t, err)
		require.Empty(t, anchors)
		states, err = DecodeValueTriples(none)
		require.NoError(t, err)
		require.Empty(t, states)
	}
}

func TestDecodeKeyTriplesOfUEID(t *testing.T) {
	anchor := tripleAnchor(t, tripleClass)
	data := bytes.Replace(keyTriples(t, anchor), []byte{0xd9, 0x02, 0x30}, []byte{0xd9, 0x02, 0x26}, 1)
	anchors, _, err := DecodeKeyTriples(data)
	require.NoError(t, err)
	require.Equal(t, []TrustAnchor{anchor}, anchors)
}

// Each CoRIM has its own words for a class.
func TestDecodeTriplesOfTwoAuthors(t *testing.T) {
	var triples []*comid.ValueTriple
	for i, vendor := range []string{"ACME", "ACME Ltd."} {
		triple, err := pluginhost.ValueTriple(tripleState(t, tripleClass, byte(i)))
		require.NoError(t, err)
		triple.Environment.Class.SetVendor(vendor)
		triples = append(triples, triple)
	}
	data, err := cbor.Marshal(triples)
	require.NoError(t, err)
	states, err := DecodeValueTriples(data)
	require.NoError(t, err)
	require.Len(t, states, 2)
}

func TestDecodeKeyTriplesOfTwoAuthors(t *testing.T) {
	anchor := tripleAnchor(t, tripleClass)
	var triples []*comid.KeyTriple
	for _, vendor := range []string{"ACME", "ACME Ltd.", "ACME", ""} {
		triple, err := pluginhost.KeyTriple(anchor)
		require.NoError(t, err)
		if vendor != "" {
			triple.Environment.Class.SetVendor(vendor).SetModel("R1")
		}
		triples = append(triples, triple)
	}
	data, err := cbor.Marshal(triples)
	require.NoError(t, err)
	anchors, classes, err := DecodeKeyTriples(data)
	require.NoError(t, err)
	require.Equal(t, []TrustAnchor{anchor}, anchors)
	require.Equal(t, []ClassDescription{
		{Class: tripleClass, Vendor: "ACME", Model: "R1"}, {Class: tripleClass, Vendor: "ACME Ltd.", Model: "R1"},
	}, classes)
}

// describedTriples are n times the same key, with a vendor of the class for each.
func describedTriples(t testing.TB, n int, class func(int) string, vendor func(int) string) []byte {
	t.Helper()
	anchor := tripleAnchor(t, tripleClass)
	pem, err := MarshalKeyPEM(anchor.Key)
	require.NoError(t, err)
	type m map[int]any
	triples := make([]any, n)
	for i := range triples {
		// A key for each class: the same one in two would be ambiguous.
		kid := append(tripleKID()[:17:17], unhex(t, strings.ReplaceAll(class(i), "-", ""))...)
		triples[i] = []any{
			m{0: m{0: cbor.Tag{Number: 37, Content: unhex(t, strings.ReplaceAll(class(i), "-", ""))}, 1: vendor(i)},
				1: cbor.Tag{Number: 560, Content: kid}},
			[]any{cbor.Tag{Number: 554, Content: pem}},
		}
	}
	mode, err := cbor.CoreDetEncOptions().EncMode()
	require.NoError(t, err)
	data, err := mode.Marshal(triples)
	require.NoError(t, err)
	return data
}

// Each description has its store asked once more, so that a class has few.
func TestDecodeKeyTriplesOfManyAuthors(t *testing.T) {
	one := func(int) string { return tripleClass }
	vendor := func(i int) string { return fmt.Sprintf("%06d", i) }

	// As many as are allowed, each of them twice.
	_, classes, err := DecodeKeyTriples(describedTriples(t, 2*MaxClassDescriptions, one, func(i int) string { return vendor(i % MaxClassDescriptions) }))
	require.NoError(t, err)
	require.Len(t, classes, MaxClassDescriptions)
	// They are counted by class.
	_, classes, err = DecodeKeyTriples(describedTriples(t, 2*MaxClassDescriptions, func(i int) string {
		return []string{tripleClass, otherTripleClass}[i%2]
	}, vendor))
	require.NoError(t, err)
	require.Len(t, classes, 2*MaxClassDescriptions)

	_, _, err = DecodeKeyTriples(describedTriples(t, MaxClassDescriptions+1, one, vendor))
	require.EqualError(t, err, "attester-verification-keys[64]: environment.class: another description of class "+tripleClass+
		` (vendor "000064", model ""); expected at most 64: have its CoRIMs name one vendor and model`)
}

// The time for a description stays the same, however many there are: also of other
// classes, which no limit cuts short.
func BenchmarkDecodeKeyTriples(b *testing.B) {
	class := func(i int) string { return fmt.Sprintf("%08x-26f9-460d-b9d8-f7fde171787c", i/MaxClassDescriptions) }
	for _, n := range []int{1_000, 32_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			data := describedTriples(b, n, class, func(i int) string { return fmt.Sprintf("%06d", i) })
			for b.Loop() {
				_, classes, err := DecodeKeyTriples(data)
				require.NoError(b, err)
				require.Len(b, classes, n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/description")
		})
	}
}

func TestDecodeKeyTriplesRefusesAmbiguity(t *testing.T) {
	for name, other := range map[string]TrustAnchor{
		"two keys":    tripleAnchor(t, tripleClass),
		"two classes": tripleAnchor(t, otherTripleClass),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := DecodeKeyTriples(keyTriples(t, tripleAnchor(t, tripleClass), other))
			var ambiguous *AmbiguousKeyError
			require.ErrorAs(t, err, &ambiguous)
			require.Equal(t, tripleKID(), []byte(ambiguous.KID))
			var at *Error
			require.ErrorAs(t, err, &at)
			require.Equal(t, "attester-verification-keys", at.Triple)
			require.Equal(t, 1, at.Index)
		})
	}
}

func TestDecodeTriplesRefuses(t *testing.T) {
	key, value := unhex(t, pluginhost.RecordedTrustAnchors), unhex(t, pluginhost.RecordedEndorsements)
	replace := func(data []byte, old, with string) []byte {
		t.Helper()
		changed := bytes.Replace(data, unhex(t, old), unhex(t, with), 1)
		require.NotEqual(t, data, changed)
		return changed
	}
	const keys, values = "attester-verification-keys", "reference-values"
	decodeKeys := func(data []byte) error { _, _, err := DecodeKeyTriples(data); return err }
	decodeValues := func(data []byte) error { _, err := DecodeValueTriples(data); return err }
	for name, tt := range map[string]struct {
		decode func([]byte) error
		data   []byte
		want   string
	}{
		"no data":          {decodeKeys, nil, keys + ": no data; expected an array of triples"},
		"no data, values":  {decodeValues, nil, values + ": no data; expected an array of triples"},
		"trailing":         {decodeKeys, append(bytes.Clone(key), 0), keys + ": not well-formed CBOR within the limits: "},
		"after null":       {decodeKeys, []byte{0xf6, 0xf6}, keys + ": not well-formed CBOR within the limits: "},
		"cut":              {decodeValues, value[:len(value)-1], values + ": not well-formed CBOR within the limits: "},
		"a map":            {decodeKeys, []byte{0xa0}, keys + ": expected an array of triples, found a map"},
		"indefinite":       {decodeValues, []byte{0x9f, 0xff}, values + ": not well-formed CBOR within the limits: "},
		"null in it":       {decodeKeys, []byte{0x81, 0xf6}, keys + "[0]: expected an array of environment and keys, found null"},
		"values for keys":  {decodeKeys, value, keys + "[0]: environment.instance: missing; expected the key identifier of the AK"},
		"keys for values":  {decodeValues, key, values + "[0]: environment.instance: not in the profile; a reference value is for a whole class"},
		"long head":        {decodeKeys, append([]byte{0x98, 0x01}, key[1:]...), keys + ": 1 is not in its shortest form"},
		"too large":        {decodeValues, make([]byte, MaxTriplesSize+1), values + ": 16777217 bytes; expected at most 16777216"},
		"conditions":       {decodeKeys, append(append([]byte{0x81, 0x83}, key[2:]...), 0xa0), keys + "[0]: expected an array of environment and keys, found an array (3 elements)"},
		"class is an OID":  {decodeKeys, replace(key, "d82550", "d86f50"), keys + "[0]: environment.class.id: expected a UUID (tag 37), found tag 111"},
		"instance is UUID": {decodeKeys, replace(key, "d90230", "d825"), keys + "[0]: environment.instance: expected the key identifier of the AK, a UEID (tag 550) or bytes (tag 560), found tag 37"},
		"kid is no UEID":   {decodeKeys, replace(key, "58210188", "58210488"), keys + "[0]: environment.instance: expected a UEID (RFC 9711, 4.2.1): "},
		"key is a thumb":   {decodeKeys, replace(key, "d9022a", "d9022d"), keys + "[0]: verification-keys[0]: expected a pkix-base64-key (tag 554), found tag 557"},
		"PCR 32":           {decodeValues, replace(value, "a2000101a1", "a200182001a1"), values + "[0]: measurements[1].key: expected the index of a PCR, 0 to 31, found the number 32"},
		"digest is SHA-1":  {decodeValues, replace(value, "82015820", "82005820"), values + "[0]: measurements[0].value.digests[0]: expected sha-256 (1), sha-384 (7) or sha-512 (8), found the number 0"},
		"digest is text":   {decodeValues, replace(value, "82015820", "82017820"), values + "[0]: measurements[0].value.digests[0]: expected a byte string, found a text string"},
		"svn":              {decodeValues, replace(value, "a1028182", "a1018182"), values + "[0]: measurements[0].value.svn: not in the profile; only digests are compared"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.decode(tt.data)
			require.Error(t, err)
			require.True(t, strings.HasPrefix(err.Error(), tt.want), err.Error())
			var at *Error
			require.ErrorAs(t, err, &at)
			require.Equal(t, -1, at.Comid)
		})
	}
}

func TestEncodeEnvironments(t *testing.T) {
	data, err := EncodeEnvironments(Environment{KID: tripleKID()}, Environment{Class: strings.ToUpper(tripleClass)},
		Environment{Class: otherTripleClass, KID: tripleKID()})
	require.NoError(t, err)
	kid := "d902305821" + hex.EncodeToString(tripleKID())
	require.Equal(t, "83"+"a101"+kid+"a100a100d82550cd1f0e5526f9460db9d8f7fde171787c"+
		"a200a100d82550d10e4bd67e024d2cbf1a69ae2268047801"+kid, hex.EncodeToString(data))

	// Veraison's module reads the same in it.
	var envs []*comid.Environment
	require.NoError(t, cbor.Unmarshal(data, &envs))
	require.Len(t, envs, 3)
	require.Equal(t, tripleKID(), envs[0].Instance.Bytes())
	require.Equal(t, comid.BytesType, envs[0].Instance.Type())
	require.Equal(t, tripleClass, envs[1].Class.ClassID.String())
	require.Nil(t, envs[1].Instance)

	data, err = EncodeEnvironments(Environment{Class: tripleClass, Vendor: "ACME", Model: "R1"}, Environment{Class: tripleClass, Model: "R1"})
	require.NoError(t, err)
	require.Equal(t, "82a100a300d82550cd1f0e5526f9460db9d8f7fde171787c016441434d4502625231"+
		"a100a200d82550cd1f0e5526f9460db9d8f7fde171787c02625231", hex.EncodeToString(data))

	data, err = EncodeEnvironments()
	require.NoError(t, err)
	require.Equal(t, []byte{0x80}, data)
}

func TestEncodeEnvironmentsRefuses(t *testing.T) {
	good := Environment{Class: tripleClass}
	for name, tt := range map[string]struct {
		env  Environment
		want string
	}{
		"empty":          {Environment{}, "[1]: no class and no key identifier; expected one of them"},
		"vendor alone":   {Environment{Vendor: "ACME", KID: tripleKID()}, "[1].class: missing; vendor and model describe one"},
		"model alone":    {Environment{Model: "R1", KID: tripleKID()}, "[1].class: missing; vendor and model describe one"},
		"class":          {Environment{Class: "ACME"}, "[1].class: expected a UUID such as "},
		"kid is no UEID": {Environment{KID: []byte{1, 2}}, "[1].instance: expected a UEID (RFC 9711, 4.2.1): "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := EncodeEnvironments(good, tt.env)
			require.Error(t, err)
			require.True(t, strings.HasPrefix(err.Error(), tt.want), err.Error())
		})
	}
}

// FuzzDecodeTriples: any bytes give a value or an error, and Veraison's module
// writes a value so that it is read back.
func FuzzDecodeTriples(f *testing.F) {
	seeds := [][]byte{
		unhex(f, pluginhost.RecordedTrustAnchors), unhex(f, pluginhost.RecordedEndorsements),
		keyTriples(f, tripleAnchor(f, tripleClass)), valueTriples(f, tripleState(f, tripleClass, 1), tripleState(f, tripleClass, 2)),
		{0xf6},
	}
	for _, seed := range seeds {
		_, _, keyErr := DecodeKeyTriples(seed)
		_, valueErr := DecodeValueTriples(seed)
		require.False(f, keyErr != nil && valueErr != nil, "a seed is neither")
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if anchors, _, err := DecodeKeyTriples(data); err == nil {
			if written, ok := written(t, anchors, pluginhost.KeyTriple); ok {
				again, _, err := DecodeKeyTriples(written)
				require.NoError(t, err)
				require.Equal(t, anchors, again)
			}
		} else if e := new(Error); !errors.As(err, &e) {
			t.Fatal(err)
		}
		if states, err := DecodeValueTriples(data); err == nil {
			if written, ok := written(t, states, pluginhost.ValueTriple); ok {
				again, err := DecodeValueTriples(written)
				require.NoError(t, err)
				require.Equal(t, states, again)
			}
		} else if e := new(Error); !errors.As(err, &e) {
			t.Fatal(err)
		}
	})
}

// written is what Veraison's module makes of values. It takes no UUID but those
// of RFC 9562's own variant, so that there may be nothing.
func written[V, T any](t *testing.T, values []V, triple func(V) (T, error)) ([]byte, bool) {
	t.Helper()
	var triples []T
	for _, v := range values {
		x, err := triple(v)
		if err != nil {
			require.ErrorContains(t, err, "UUID")
			return nil, false
		}
		triples = append(triples, x)
	}
	data, err := cbor.Marshal(triples)
	require.NoError(t, err)
	return data, true
}
