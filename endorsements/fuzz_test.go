// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzDecode: any bytes give a value or an error. A value can be written and
// read back, and what it says is what Veraison's own decoder reads in the
// same bytes, so that nobody can be shown two different CoRIMs in one.
func FuzzDecode(f *testing.F) {
	var seeds [][]byte
	for _, c := range sampleCorims(f) {
		for _, d := range []Dialect{DialectV1, DialectV2} {
			data, err := c.Encode(d)
			require.NoError(f, err)
			seeds = append(seeds, data)
		}
	}
	seeds = append(seeds,
		encodeDoc(f, goodCorim(f)),
		encodeDocIn(f, DialectV2, goodCorim(f)),
		veraisonVector(f, "ComidParsecTpmKeyGood"),
		veraisonVector(f, "ComidParsecTpmPcrsGood"),
		encodeAny(f, tag(501, m{})),
		encodeAny(f, tag(18, l{[]byte{}, m{}, []byte{}, []byte{}})))
	accepted := 0
	for _, seed := range seeds {
		if _, err := Decode(seed); err == nil {
			accepted++
		}
		f.Add(seed)
	}
	if accepted < len(seeds)-2 {
		f.Fatalf("the seed corpus has %d valid CoRIMs; expected %d", accepted, len(seeds)-2)
	}

	f.Fuzz(checkDecode)
}

// FuzzDecodeStructure: as FuzzDecode, on CoRIMs that are well formed and have
// a few odd items in them, which bytes alone rarely become.
func FuzzDecodeStructure(f *testing.F) {
	for seed := range uint64(500) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		x := mutator{rand.New(rand.NewPCG(seed, 0))}
		for range 20 {
			if doc, ok := x.mutate(goodCorim(t)).(m); ok {
				checkDecode(t, encodeDocIn(t, DialectV1+Dialect(x.IntN(2)), doc))
			}
		}
	})
}

// mutator replaces, removes and adds items.
type mutator struct{ *rand.Rand }

func (x mutator) mutate(v any) any {
	const rarely = 50
	if x.IntN(rarely) == 0 {
		return x.item(0)
	}
	switch v := v.(type) {
	case m:
		out := m{}
		for _, k := range []any{0, 1, 2, 3, 4, 5} { // in order, for the same seed to do the same
			if item, ok := v[k]; ok && x.IntN(rarely) != 0 {
				out[k] = x.mutate(item)
			}
		}
		if x.IntN(rarely) == 0 {
			out[x.IntN(18)-2] = x.item(0)
		}
		return out
	case l:
		out := l{}
		for _, item := range v {
			for range 1 + x.IntN(rarely)/(rarely-1) {
				out = append(out, x.mutate(item))
			}
		}
		return out
	case cbor.Tag:
		return tag(v.Number, x.mutate(v.Content))
	}
	return v
}

func (x mutator) item(depth int) any {
	tags := []uint64{0, 1, 18, 32, 37, 111, 501, 505, 506, 507, 508, 550, 551, 552, 554, 555, 557, 558, 560, 600}
	kind := x.IntN(16)
	if depth > 3 {
		kind = x.IntN(12)
	}
	switch kind {
	case 0:
		return nil
	case 1:
		return raw{0xf7}
	case 2:
		return x.IntN(40) - 5
	case 3:
		return x.Uint64()
	case 4:
		return make([]byte, x.IntN(70))
	case 5:
		return kidA
	case 6:
		return pemB
	case 7:
		return ""
	case 8:
		return l{}
	case 9:
		return m{}
	case 10:
		return true
	case 11:
		return x.Float64()
	case 12, 13:
		return tag(tags[x.IntN(len(tags))], x.item(depth+1))
	case 14:
		list := l{}
		for range x.IntN(4) {
			list = append(list, x.item(depth+1))
		}
		return list
	default:
		out := m{}
		for range x.IntN(4) {
			out[x.IntN(12)] = x.item(depth + 1)
		}
		return out
	}
}

func checkDecode(t *testing.T, data []byte) {
	c, err := Decode(data)
	if err != nil {
		assert.Nil(t, c)
		var located *Error
		if !errors.As(err, &located) {
			t.Fatalf("an error of no known type: %v", err)
		}
		assert.LessOrEqual(t, len(err.Error()), 2000)
		return
	}
	if len(data) > MaxCorimSize-100 {
		return // the other dialect, or the identities that Encode chooses, may be longer
	}
	v2, err := Convert(data, DialectV2)
	require.NoError(t, err)
	asV2, err := Decode(v2)
	require.NoError(t, err)
	asV2.Dialect = c.Dialect
	assert.Equal(t, c, asV2)
	v1, err := Convert(data, DialectV1)
	if err != nil {
		require.ErrorContains(t, err, "manifest-signer (2), which dialect v1")
		return
	}
	back, err := Convert(v1, DialectV2)
	require.NoError(t, err)
	assert.Equal(t, v2, back)

	theirs, err := asVeraisonReads(v1)
	require.NoError(t, err)
	ours := asWeRead(c)
	if len(theirs) == len(ours) { // a triple that occurs twice is in ours once
		assert.Equal(t, theirs, ours)
	} else {
		assert.Subset(t, theirs, ours)
		assert.Subset(t, ours, theirs)
	}

	written, err := c.Encode(c.Dialect)
	require.NoError(t, err)
	again, err := Decode(written)
	require.NoError(t, err)
	assert.Equal(t, c, again)
}

// FuzzNewTrustAnchor: a key that is taken from a store can be provisioned
// again.
func FuzzNewTrustAnchor(f *testing.F) {
	f.Add(classA, kidA, pemA)
	f.Add(classB, kidB, pemB)
	f.Fuzz(func(t *testing.T, class string, kid []byte, pem string) {
		a, err := NewTrustAnchor(class, kid, pem)
		if err != nil {
			assert.Zero(t, a)
			return
		}
		c := &Corim{ID: "x", Dialect: DialectV1, Anchors: []TrustAnchor{a}}
		data, err := c.Encode(DialectV1)
		require.NoError(t, err)
		again, err := Decode(data)
		require.NoError(t, err)
		assert.Equal(t, c, again)
	})
}
