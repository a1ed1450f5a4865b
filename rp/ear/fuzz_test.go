// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package ear_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/internal/rptest"
)

// Whoever is not the verifier can write the token.
func FuzzToken(f *testing.F) {
	key := rptest.Key(f)
	keys := ear.Pin(rptest.Public(f, key))
	good := rptest.Sign(f, key, rptest.Claims(nonce))
	f.Add(good)
	f.Add(rptest.Sign(f, rptest.Key(f), rptest.Claims(nonce)))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		r, err := ear.Verify(t.Context(), token, keys, forNonce())
		require.Equal(t, err == nil, r != nil)
		if err == nil {
			require.Equal(t, good, token, "forged")
		}
	})
}

// The verifier writes the payload, and may be wrong.
func FuzzPayload(f *testing.F) {
	key := rptest.Key(f)
	keys := ear.Pin(rptest.Public(f, key))
	for _, claims := range []object{rptest.Claims(nonce), rptest.WithSubmod(rptest.Claims(nonce), object{"ear.status": "warning", "ear.veraison.policy-claims": object{"problem": "x"}})} {
		payload, err := json.Marshal(claims)
		require.NoError(f, err)
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := ear.Verify(t.Context(), rptest.SignRaw(t, key, `{"alg":"ES256"}`, payload), keys, forNonce())
		require.Equal(t, err == nil, r != nil)
		if err != nil {
			return
		}
		// What was accepted is JSON to others too, with the same meaning.
		var claims map[string]any
		require.NoError(t, json.Unmarshal(payload, &claims))
		require.Equal(t, claims["eat_profile"], r.Profile)
		require.EqualValues(t, claims["iat"], r.IssuedAt.Unix())
		require.Len(t, r.Submods, len(claims["submods"].(object)))
		for _, a := range r.Submods {
			for _, claim := range a.Vector {
				if tier := claim.Tier(); tier != ear.TierNone && a.Status == ear.TierAffirming {
					require.Equal(t, ear.TierAffirming, tier)
				}
			}
		}
	})
}
