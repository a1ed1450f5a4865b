// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What Decode leaves behind, such as a CoMID's language, entities and identity,
// survives, and so does an order that Encode would not have chosen.
func TestConvertKeepsEverything(t *testing.T) {
	doc := goodCorim(t)
	set(t, doc, under(pathKeyEnv, 0, 1), "ACME")
	set(t, doc, l{0}, uuidBytes(t, classB))
	v1, v2 := encodeDocIn(t, DialectV1, doc), m{}
	for k, v := range doc {
		v2[k] = v
	}
	set(t, v2, under(pathKeyEnv, 1), tag(560, kidA))
	want := encodeDocIn(t, DialectV2, v2)

	got, err := Convert(v1, DialectV2)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	got, err = Convert(got, DialectV1)
	require.NoError(t, err)
	set(t, doc, under(pathKeyEnv, 1), tag(550, kidA))
	assert.Equal(t, encodeDocIn(t, DialectV1, doc), got)

	// The profile first, the tags last.
	odd := append(mustHex("a203"), encodeAny(t, Profile)...)
	odd = append(append(odd, 0), encodeAny(t, "odd")...)
	odd = append(append(odd, 1), encodeAny(t, l{encodeAny(t, tag(506, get(t, goodCorim(t), l{1, 0})))})...)
	odd[0] = 0xa3
	got, err = Convert(odd, DialectV2)
	require.NoError(t, err)
	assert.True(t, bytes.HasPrefix(got, mustHex("d901f5a303d820")))
	got, err = Convert(got, DialectV1)
	require.NoError(t, err)
	assert.Equal(t, odd, got)
}

// The tag of a key identifier is that of the dialect, in every triple.
func TestConvertInstances(t *testing.T) {
	doc := goodCorim(t)
	second := l{m{0: m{0: tag(37, uuidBytes(t, classA))}, 1: tag(560, kidB)}, l{tag(554, pemB)}}
	set(t, doc, pathKeyTriples, l{get(t, doc, pathKeyTriple), second})
	for _, from := range []Dialect{DialectV1, DialectV2} {
		data := encodeDocIn(t, from, doc)
		before := bytes.Clone(data)
		for _, to := range []Dialect{DialectV1, DialectV2} {
			got, err := Convert(data, to)
			require.NoError(t, err)
			assert.Equal(t, 2, bytes.Count(got, append(encodeAny(t, tag(to.instanceTag(), kidA[:0]))[:3], 0x58, 33)))
			c, err := Decode(got)
			require.NoError(t, err)
			assert.Len(t, c.Anchors, 2)
		}
		assert.Equal(t, before, data, "the input has changed")
	}
}

func TestConvertRefuses(t *testing.T) {
	doc := goodCorim(t)
	set(t, doc, l{5, 0, 2}, l{1, 2})
	data := encodeDocIn(t, DialectV2, doc)
	_, err := Convert(data, DialectV2)
	require.NoError(t, err)
	got, err := Convert(data, DialectV1)
	assert.Nil(t, got)
	require.EqualError(t, err, `cannot be converted to dialect v1 (Veraison until v0.0.2602) without a loss: entities[0].roles[1]: `+
		`expected the role manifest-creator (1), found manifest-signer (2), which dialect v1 (Veraison until v0.0.2602) does not have`)
	var e *Error
	require.ErrorAs(t, err, &e)

	got, err = Convert(data, 0)
	assert.Nil(t, got)
	var unsupported *UnsupportedDialectError
	require.ErrorAs(t, err, &unsupported)
	assert.EqualError(t, err, "unsupported dialect: Dialect(0); expected v1 (Veraison until v0.0.2602), v2 (Veraison after v0.0.2608) or v2-text (Veraison v0.0.2603 to v0.0.2608)")

	// DialectV2 needs a few bytes more.
	c := &Corim{ID: "x", Anchors: []TrustAnchor{mustAnchor(t, classA, kidA, pemA)}}
	small, err := c.Encode(DialectV1)
	require.NoError(t, err)
	c.ID = string(bytes.Repeat([]byte("x"), MaxCorimSize-len(small)-3))
	full, err := c.Encode(DialectV1)
	require.NoError(t, err)
	got, err = Convert(full, DialectV2)
	assert.Nil(t, got)
	require.ErrorContains(t, err, "bytes; expected at most 1048576")
}
