// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package testvectors_test

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/veraison/ear"
	"github.com/veraison/services/handler"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/pluginhost"
	"github.com/veraison/attested-tls/testvectors"
	"github.com/veraison/attested-tls/testvectors/internal/verdict"
)

// each runs a test for every vector.
func each(t *testing.T, test func(*testing.T, testvectors.Vector)) {
	t.Helper()
	vectors, err := testvectors.All()
	require.NoError(t, err)
	require.NotEmpty(t, vectors)
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) { test(t, v) })
	}
}

// TestAppraise: package appraisal gives what each vector wants.
func TestAppraise(t *testing.T) {
	each(t, func(t *testing.T, v testvectors.Vector) {
		r, err := verdict.Of(v, time.Now())
		require.NoError(t, err)
		assert.Equal(t, v.Want, r.Outcome)
	})
}

// TestNames: a vector's name begins with its verdict, or with good.
func TestNames(t *testing.T) {
	each(t, func(t *testing.T, v testvectors.Vector) {
		prefix := string(v.Want.Verdict)
		if v.Want.Verdict == testvectors.Affirming {
			prefix = "good"
		}
		assert.True(t, strings.HasPrefix(v.Name, prefix+"-"), "want %s-…", prefix)
	})
}

// TestAK: a vector's AK is the trust anchor that its CoRIMs have for the kid
// in the evidence.
func TestAK(t *testing.T) {
	held := 0
	each(t, func(t *testing.T, v testvectors.Vector) {
		ak, err := x509.ParsePKIXPublicKey(v.AK)
		require.NoError(t, err)
		kid, err := appraisal.KeyID(v.Evidence)
		if err != nil {
			return
		}
		for _, b := range v.CoRIMs {
			c, err := endorsements.Decode(b)
			if err != nil {
				continue
			}
			set, err := endorsements.NewSet(c)
			require.NoError(t, err)
			if a, ok := set.TrustAnchor(kid); ok {
				assert.Equal(t, ak, a.Key)
				held++
				return // what comes after it is the defect of a bad endorsement
			}
		}
	})
	assert.Greater(t, held, 100)
}

// TestEveryCheck: each check that evidence can fail has a vector.
func TestEveryCheck(t *testing.T) {
	seen := make(map[bundle.Check]int)
	each(t, func(_ *testing.T, v testvectors.Vector) { seen[bundle.Check(v.Want.Check)]++ })
	for _, check := range []bundle.Check{
		bundle.Malformed, bundle.Version, bundle.KeyID, bundle.UnknownKey, bundle.Algorithm,
		bundle.Signature, bundle.Magic, bundle.Type, bundle.Stale, bundle.Name,
	} {
		assert.NotZero(t, seen[check], check)
		delete(seen, check)
	}
	delete(seen, "") // vectors that are not about evidence
	assert.Empty(t, seen, "unknown checks")
}

// TestPlugin: the plugin gives what each vector wants when a Veraison host
// calls it.
func TestPlugin(t *testing.T) {
	each(t, func(t *testing.T, v testvectors.Vector) {
		h := newHost(t)
		for _, c := range v.CoRIMs {
			if err := h.Submit(c); err != nil {
				require.Equal(t, testvectors.BadEndorsement, v.Want.Verdict, "%v", err)
				text, ok := strings.CutPrefix(err.Error(), decodeFailed)
				require.True(t, ok, "%v", err)
				assert.Equal(t, v.Want.Error, text)
				return
			}
		}
		e := &pluginhost.Evidence{TenantId: "0", Data: v.Evidence, MediaType: bundle.MediaType, Nonce: v.Nonce}
		token := e.Token()
		result, err := h.Attest(e)
		switch v.Want.Verdict {
		case testvectors.BadEndorsement:
			// The CoRIMs are right one by one. The host itself refuses to choose
			// among the anchors that it finds, and so does the plugin.
			require.EqualError(t, err, "found 2 trust anchors, want 1")
			ids, err := h.Store.GetTrustAnchorIDs(token)
			require.NoError(t, err)
			require.Len(t, ids, 1)
			anchors := h.Anchors(ids[0])
			require.Len(t, anchors, 2)
			err = h.Evidence.ValidateEvidenceIntegrity(token, anchors, nil)
			require.Error(t, err)
			require.False(t, errors.Is(err, handler.BadEvidenceError{}), "it is not the evidence's fault")
			_, reason, _ := strings.Cut(v.Want.Error, ": ") // after the place
			assert.Equal(t, reason, err.Error())
		case testvectors.BadEvidence:
			require.ErrorIs(t, err, handler.BadEvidenceError{})
			if errors.Is(err, pluginhost.ErrNoTrustAnchor) {
				assert.Equal(t, string(bundle.UnknownKey), v.Want.Check)
				err = h.Evidence.ValidateEvidenceIntegrity(token, nil, nil)
			}
			assert.Equal(t, v.Want.Error, detail(t, err))
			assert.Contains(t, v.Want.Error, v.Want.Check+": ")
		default:
			require.NoError(t, err)
			assertEAR(t, v.Want, result)
		}
	})
}

// decodeFailed is what Veraison's RPC puts before an endorsement-handler's
// error.
const decodeFailed = `RPC server returned error: plugin "unsigned-corim (Parsec TPM profile)" returned error: `

// detail is what a bad evidence error says.
func detail(t *testing.T, err error) string {
	t.Helper()
	var bad handler.BadEvidenceError
	require.ErrorAs(t, err, &bad)
	cause, ok := bad.Detail.(error)
	require.True(t, ok, "%T", bad.Detail)
	return cause.Error()
}

// assertEAR holds an EAR against what a vector wants of an appraisal.
func assertEAR(t *testing.T, want testvectors.Outcome, result *ear.AttestationResult) {
	t.Helper()
	require.Len(t, result.Submods, 1)
	a := result.Submods["PARSEC_TPM"]
	require.NotNil(t, a)
	require.NotNil(t, a.Status)
	assert.Equal(t, string(want.Verdict), a.Status.String())
	require.NotNil(t, a.TrustVector)
	assert.Equal(t, ear.TrustVector{
		InstanceIdentity: ear.TrustClaim(want.InstanceIdentity),
		Executables:      ear.TrustClaim(want.Executables),
		Hardware:         ear.TrustClaim(want.Hardware),
		StorageOpaque:    ear.TrustClaim(want.StorageOpaque),
	}, *a.TrustVector)
	if want.KeyAttestation == nil {
		assert.Nil(t, a.VeraisonKeyAttestation)
	} else if assert.NotNil(t, a.VeraisonKeyAttestation) {
		assert.Equal(t, map[string]any{"akpub": base64.RawURLEncoding.EncodeToString(want.KeyAttestation)}, *a.VeraisonKeyAttestation)
	}
	if len(want.Problems) == 0 {
		assert.Nil(t, a.VeraisonPolicyClaims)
	} else if assert.NotNil(t, a.VeraisonPolicyClaims) {
		assert.Equal(t, map[string]any{"problem": strings.Join(want.Problems, "; ")}, *a.VeraisonPolicyClaims)
	}
	require.NotNil(t, a.VeraisonAnnotatedEvidence)
	assert.NotEmpty(t, *a.VeraisonAnnotatedEvidence)
}
