// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// DialectV2Text differs from DialectV2 in the profile's tag alone.
func TestDialectV2Text(t *testing.T) {
	for name, c := range sampleCorims(t) {
		v2, err := c.Encode(DialectV2)
		require.NoError(t, err, name)
		text, err := c.Encode(DialectV2Text)
		require.NoError(t, err, name)
		require.Equal(t, bytes.Replace(v2, mustHex("03d820782c"), mustHex("03782c"), 1), text, name)
		require.NotEqual(t, v2, text, name)

		read, err := Decode(text)
		require.NoError(t, err, name)
		require.Equal(t, DialectV2Text, read.Dialect, name)
		again, err := read.Encode(DialectV2Text)
		require.NoError(t, err, name)
		require.Equal(t, text, again, name)

		for _, d := range []Dialect{DialectV1, DialectV2, DialectV2Text} {
			want, err := c.Encode(d)
			if err != nil {
				continue // what DialectV1 has no words for
			}
			converted, err := Convert(text, d)
			require.NoError(t, err, name)
			require.Equal(t, want, converted, name)
			back, err := Convert(converted, DialectV2Text)
			require.NoError(t, err, name)
			require.Equal(t, text, back, name)
		}
	}
	require.Equal(t, "v2-text (Veraison v0.0.2603 to v0.0.2608)", DialectV2Text.String())
	require.Equal(t, MediaTypeUnsignedV2, DialectV2Text.MediaType(false))
	require.Equal(t, MediaTypeSignedV2, DialectV2Text.MediaType(true))
}
