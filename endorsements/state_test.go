// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"crypto"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReferenceState(t *testing.T) {
	input := []PCRValue{
		value(crypto.SHA384, 1, 0x31),
		value(crypto.SHA256, 7, 0x27),
		value(crypto.SHA512, 31, 0x5f),
		value(crypto.SHA256, 0, 0x20),
		value(crypto.SHA384, 0, 0x30),
		value(crypto.SHA256, 1, 0x21),
	}
	s, err := NewReferenceState("CD1F0E55-26F9-460D-B9D8-F7FDE171787C", input)
	require.NoError(t, err)
	clear(input[0].Digest) // the state has its own copy
	input[1] = PCRValue{}

	assert.Equal(t, classA, s.Class())
	assert.Equal(t, []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}, s.Banks())
	assert.Equal(t, []int{0, 1, 7}, s.PCRs(crypto.SHA256))
	assert.Equal(t, []int{0, 1}, s.PCRs(crypto.SHA384))
	assert.Equal(t, []int{31}, s.PCRs(crypto.SHA512))
	assert.Empty(t, s.PCRs(crypto.SHA1))
	assert.Equal(t, uint32(1<<0|1<<1|1<<7), s.Mask(crypto.SHA256))
	assert.Equal(t, uint32(1<<0|1<<1), s.Mask(crypto.SHA384))
	assert.Equal(t, uint32(1)<<31, s.Mask(crypto.SHA512))
	assert.Zero(t, s.Mask(crypto.SHA1))
	assert.Equal(t, "sha256:0,1,7+sha384:0,1+sha512:31", s.String())

	want := []PCRValue{
		value(crypto.SHA256, 0, 0x20),
		value(crypto.SHA256, 1, 0x21),
		value(crypto.SHA256, 7, 0x27),
		value(crypto.SHA384, 0, 0x30),
		value(crypto.SHA384, 1, 0x31),
		value(crypto.SHA512, 31, 0x5f),
	}
	values := s.Values()
	assert.Equal(t, want, values)
	clear(values[0].Digest) // nor does the result reach into the state
	values[1] = PCRValue{}
	assert.Equal(t, want, s.Values())

	for _, v := range want {
		got, ok := s.Digest(v.PCR)
		assert.True(t, ok)
		assert.Equal(t, v.Digest, got)
	}
	for _, p := range []PCR{{crypto.SHA256, 2}, {crypto.SHA512, 0}, {crypto.SHA1, 0}, {}, {crypto.SHA384, -1}} {
		got, ok := s.Digest(p)
		assert.False(t, ok, p)
		assert.Nil(t, got)
	}
	assert.Zero(t, testing.AllocsPerRun(100, func() { s.Digest(PCR{crypto.SHA384, 1}) }))
}

// TestReferenceStateZero: it must not pass for a state without demands.
func TestReferenceStateZero(t *testing.T) {
	var s ReferenceState
	assert.Empty(t, s.Class())
	assert.Empty(t, s.Banks())
	assert.Empty(t, s.Values())
	assert.Empty(t, s.String())
	_, ok := s.Digest(PCR{crypto.SHA256, 0})
	assert.False(t, ok)
	_, err := NewSet(&Corim{States: []ReferenceState{s}})
	assert.EqualError(t, err, "corims[0].states[0]: empty; expected one made by NewReferenceState")
}

func TestNewReferenceStateRefuses(t *testing.T) {
	good := value(crypto.SHA256, 0, 1)
	const twice = `; put the values of a second firmware version into a reference value triple of its own`
	tests := map[string]struct {
		class  string
		values []PCRValue
		want   string
	}{
		"class":           {"acme", []PCRValue{good}, `class: expected a UUID such as cd1f0e55-26f9-460d-b9d8-f7fde171787c, found "acme"`},
		"no values":       {classA, nil, `values: none; expected at least one PCR value`},
		"SHA-1":           {classA, []PCRValue{good, value(crypto.SHA1, 0, 1)}, `values[1]: expected bank sha256, sha384 or sha512, found SHA-1`},
		"SHA3-256":        {classA, []PCRValue{value(crypto.SHA3_256, 0, 1)}, `values[0]: expected bank sha256, sha384 or sha512, found SHA3-256`},
		"no bank":         {classA, []PCRValue{{PCR{0, 0}, nil}}, `values[0]: expected bank sha256, sha384 or sha512, found unknown hash value 0`},
		"negative PCR":    {classA, []PCRValue{value(crypto.SHA256, -1, 1)}, `values[0]: expected the index of a PCR, 0 to 31, found -1`},
		"PCR 32":          {classA, []PCRValue{value(crypto.SHA256, 32, 1)}, `values[0]: expected the index of a PCR, 0 to 31, found 32`},
		"no digest":       {classA, []PCRValue{{good.PCR, nil}}, `values[0]: expected the 32 bytes of sha256, found 0 bytes`},
		"other bank's":    {classA, []PCRValue{{good.PCR, digest(crypto.SHA384, 1)}}, `values[0]: expected the 32 bytes of sha256, found 48 bytes`},
		"PCR twice":       {classA, []PCRValue{good, value(crypto.SHA256, 1, 1), value(crypto.SHA256, 0, 2)}, `values[2]: PCR sha256:0 occurs twice in one state` + twice},
		"PCR twice, same": {classA, []PCRValue{good, good}, `values[1]: PCR sha256:0 occurs twice in one state` + twice},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := NewReferenceState(test.class, test.values)
			assert.Zero(t, s)
			require.EqualError(t, err, test.want)
			var e *Error
			assert.ErrorAs(t, err, &e)
		})
	}
}
