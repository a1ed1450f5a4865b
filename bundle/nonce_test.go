// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package bundle_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/evidencetest"
)

func TestCheckNonce(t *testing.T) {
	m := evidencetest.New(t)
	m.Nonce = bytes.Repeat([]byte{1}, 32)
	fresh := m.Bundle(t)
	k, p, err := bundle.Decode(fresh)
	require.NoError(t, err)
	m.Nonce = bytes.Repeat([]byte{2}, 32)
	otherKAT, otherPAT, err := bundle.Decode(m.Bundle(t))
	require.NoError(t, err)

	for name, tt := range map[string]struct {
		encode func() ([]byte, error)
		ok     bool
	}{
		"both":      {func() ([]byte, error) { return bundle.Encode(k, p) }, true},
		"stale KAT": {func() ([]byte, error) { return bundle.Encode(otherKAT, p) }, false},
		"stale PAT": {func() ([]byte, error) { return bundle.Encode(k, otherPAT) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := tt.encode()
			require.NoError(t, err)
			b, err := bundle.Parse(data)
			require.NoError(t, err)
			err = b.CheckNonce(bytes.Repeat([]byte{1}, 32))
			if tt.ok {
				require.NoError(t, err)
				require.Error(t, b.CheckNonce(nil))
				return
			}
			var e *bundle.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, bundle.Stale, e.Check)
		})
	}
}
