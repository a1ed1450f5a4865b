// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cmw

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	oracle "github.com/veraison/cmw"
)

func TestAgreesWithVeraison(t *testing.T) {
	for _, size := range []int{1, 23, 24, 255, 256, 40_000} {
		r := Record{Type: "application/eat+jwt", Value: bytes.Repeat([]byte{'x'}, size), Indicator: AttestationResults}
		data := r.EncodeCBOR()
		var theirs oracle.CMW
		require.NoError(t, theirs.Deserialize(data))
		value, err := theirs.GetMonadValue()
		require.NoError(t, err)
		require.Equal(t, r.Value, value)
		kind, err := theirs.GetMonadType()
		require.NoError(t, err)
		require.Equal(t, r.Type, kind)
		again, err := theirs.MarshalCBOR()
		require.NoError(t, err)
		require.Equal(t, data, again)
		back, err := Decode(data)
		require.NoError(t, err)
		require.Equal(t, r, back)

		text, err := theirs.MarshalJSON()
		require.NoError(t, err)
		back, err = Decode(text)
		require.NoError(t, err)
		require.Equal(t, r, back)
	}
}

func TestRefused(t *testing.T) {
	good := Record{Type: "a/b", Value: []byte{1, 2}, Indicator: Evidence}.EncodeCBOR()
	_, err := Decode(good)
	require.NoError(t, err)
	for name, data := range map[string][]byte{
		"empty":             {},
		"a map":             {0xa0},
		"one item":          {0x81, 0x63, 'a', '/', 'b'},
		"four items":        {0x84, 0x63, 'a', '/', 'b', 0x41, 1, 4, 4},
		"indefinite":        {0x9f, 0x63, 'a', '/', 'b', 0x41, 1, 0xff},
		"not UTF-8":         {0x82, 0x61, 0xff, 0x41, 1},
		"empty type":        {0x82, 0x60, 0x41, 1},
		"empty value":       {0x82, 0x61, 'a', 0x40},
		"number as type":    {0x82, 0x18, 60, 0x41, 1},
		"text as value":     {0x82, 0x61, 'a', 0x61, 'b'},
		"long head":         {0x82, 0x78, 1, 'a', 0x41, 1},
		"long head of two":  {0x82, 0x79, 0, 24, 'a', 0x41, 1},
		"negative":          {0x83, 0x61, 'a', 0x41, 1, 0x20},
		"trailing":          append(bytes.Clone(good), 0),
		"too long a string": {0x82, 0x61, 'a', 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"JSON object":       []byte(`{}`),
		"JSON one":          []byte(`["a"]`),
		"JSON trailing":     []byte(`["a","AQ"] x`),
		"JSON padding":      []byte(`["a","AQ=="]`),
		"JSON number":       []byte(`[1,"AQ"]`),
		"JSON indicator":    []byte(`["a","AQ",-1]`),
		"too large":         []byte(`["a","` + strings.Repeat("A", MaxSize) + `"]`),
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Decode(data)
			require.Error(t, err, "%+v", r)
		})
	}
	for i := range good {
		_, err := Decode(good[:i])
		require.Error(t, err, "cut to %d bytes", i)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Record{Type: "a/b", Value: []byte{1, 2}, Indicator: Evidence}.EncodeCBOR())
	f.Add([]byte(`["a/b","AQI",4]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Decode(r.EncodeCBOR())
		if len(r.EncodeCBOR()) > MaxSize {
			return
		}
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
