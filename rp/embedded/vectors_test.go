// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/internal/rptest"
	"github.com/veraison/attested-tls/testvectors"
)

// vectors are the golden vectors whose endorsements are good, and those whose
// are not.
func vectors(t *testing.T) (good, bad []testvectors.Vector) {
	t.Helper()
	all, err := testvectors.All()
	require.NoError(t, err)
	for _, v := range all {
		if v.Want.Verdict == testvectors.BadEndorsement {
			bad = append(bad, v)
		} else {
			good = append(good, v)
		}
	}
	return good, bad
}

func decode(t *testing.T, v testvectors.Vector) []*endorsements.Corim {
	t.Helper()
	var corims []*endorsements.Corim
	for _, data := range v.CoRIMs {
		c, err := endorsements.Decode(data)
		require.NoError(t, err)
		corims = append(corims, c)
	}
	return corims
}

// The same evidence has the same result from the embedded verifier and from a
// real Veraison, and it is the one that the vector wants.
func TestSameResultsAsVeraison(t *testing.T) {
	good, _ := vectors(t)
	batches := batch(t, good)
	t.Logf("%d vectors in %d deployments", len(good), len(batches))
	plugin := rptest.Plugin(t)
	for _, b := range batches {
		d := deployment.StartForTest(t, deployment.Config{PluginDir: plugin})
		key, err := ear.NewKey(d.PublicKey())
		require.NoError(t, err)
		real, err := rp.NewVeraison(d.VerificationURL(), ear.Pin(key), rp.Config{InsecureHTTP: true})
		require.NoError(t, err)
		for _, v := range b.vectors {
			for _, corim := range v.CoRIMs {
				require.NoError(t, d.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, corim))
			}
		}
		for _, v := range b.vectors {
			t.Run(v.Name, func(t *testing.T) { sameResults(t, v, real) })
		}
		require.NoError(t, real.Close())
		d.Client().CloseIdle()
		require.NoError(t, d.Stop())
	}
}

func sameResults(t *testing.T, v testvectors.Vector, real rp.Verifier) {
	ours, err := embedded.New(decode(t, v), embedded.Config{})
	require.NoError(t, err)
	got, gotErr := appraise(t, ours, v)
	want, wantErr := appraise(t, real, v)
	if wantErr != nil {
		// No verifier takes this nonce, or no evidence at all.
		require.Equal(t, testvectors.BadEvidence, v.Want.Verdict)
		require.True(t, len(v.Nonce) < 8 || len(v.Nonce) > 64 || len(v.Evidence) == 0, wantErr)
		require.EqualError(t, gotErr, wantErr.Error())
		return
	}
	require.NoError(t, gotErr)
	require.Equal(t, want.Profile, got.Profile)
	require.Equal(t, want.Status, got.Status)
	require.Equal(t, slices.Sorted(maps.Keys(want.Submods)), slices.Sorted(maps.Keys(got.Submods)))
	wantTPM, gotTPM := want.Submods["PARSEC_TPM"], got.Submods["PARSEC_TPM"]
	if gotTPM.Remarks["detail"] != nil {
		// What Veraison has in its log alone.
		assert.Contains(t, gotTPM.Remarks["detail"], v.Want.Check)
		delete(gotTPM.Remarks, "detail")
	}
	require.Equal(t, wantTPM, gotTPM)
	requireOutcome(t, v.Want, gotTPM)
}

func appraise(t *testing.T, verifier rp.Verifier, v testvectors.Vector) (*rp.AttestationResult, error) {
	t.Helper()
	nonce := v.Nonce
	if nonce == nil {
		nonce = []byte{} // nil asks for one of the verifier's
	}
	s, err := verifier.NewSession(t.Context(), nonce)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Appraise(t.Context(), rp.Evidence{MediaType: bundle.MediaType, Data: v.Evidence})
}

func requireOutcome(t *testing.T, want testvectors.Outcome, a *ear.Appraisal) {
	t.Helper()
	if want.Verdict == testvectors.BadEvidence {
		require.Equal(t, ear.TierContraindicated, a.Status)
		require.Len(t, a.Vector, 8)
		for category, claim := range a.Vector {
			require.Equal(t, ear.Claim(99), claim, category)
		}
		require.Nil(t, a.AttestedKey)
		require.NotEmpty(t, a.Problem())
		return
	}
	require.Equal(t, string(want.Verdict), a.Status.String())
	require.Equal(t, ear.TrustVector{
		ear.Hardware: ear.Claim(want.Hardware), ear.InstanceIdentity: ear.Claim(want.InstanceIdentity),
		ear.Executables: ear.Claim(want.Executables), ear.StorageOpaque: ear.Claim(want.StorageOpaque),
	}, a.Vector)
	require.Equal(t, want.KeyAttestation != nil, a.AttestedKey != nil)
	require.Equal(t, len(want.Problems) > 0, a.Problem() != "")
}

// Endorsements that are bad make no verifier.
func TestBadEndorsements(t *testing.T) {
	_, bad := vectors(t)
	require.NotEmpty(t, bad)
	for _, v := range bad {
		var corims []*endorsements.Corim
		var err error
		for _, data := range v.CoRIMs {
			var c *endorsements.Corim
			if c, err = endorsements.Decode(data); err != nil {
				break
			}
			corims = append(corims, c)
		}
		if err == nil {
			var verifier *embedded.Verifier
			verifier, err = embedded.New(corims, embedded.Config{})
			assert.Nil(t, verifier, v.Name)
		}
		assert.ErrorContains(t, err, v.Want.Error, v.Name)
	}
}

// vectorBatch is vectors whose endorsements one deployment can hold.
type vectorBatch struct {
	vectors []testvectors.Vector
	anchors map[string]string // key identifier -> class and key
	states  map[string]string // class -> states
}

func batch(t *testing.T, vectors []testvectors.Vector) []*vectorBatch {
	var batches []*vectorBatch
next:
	for _, v := range vectors {
		anchors, states := map[string]string{}, map[string]string{}
		corims := decode(t, v)
		set, err := endorsements.NewSet(corims...)
		require.NoError(t, err)
		for _, c := range corims {
			for _, a := range c.Anchors {
				anchors[string(a.KID)] = a.Class + a.PEM
				states[a.Class] = stateNames(set.States(a.Class))
			}
			for _, s := range c.States {
				states[s.Class()] = stateNames(set.States(s.Class()))
			}
		}
		used, _ := appraisal.KeyID(v.Evidence)
		for _, b := range batches {
			if b.agrees(string(used), anchors, states) {
				b.vectors = append(b.vectors, v)
				maps.Copy(b.anchors, anchors)
				maps.Copy(b.states, states)
				continue next
			}
		}
		batches = append(batches, &vectorBatch{vectors: []testvectors.Vector{v}, anchors: anchors, states: states})
	}
	return batches
}

func stateNames(states []endorsements.ReferenceState) string {
	var names []string
	for _, s := range states {
		var b bytes.Buffer
		for _, v := range s.Values() {
			b.WriteString(v.PCR.String())
			b.Write(v.Digest)
		}
		names = append(names, b.String())
	}
	slices.Sort(names)
	return strings.Join(names, "|")
}

func (b *vectorBatch) agrees(used string, anchors, states map[string]string) bool {
	for kid, a := range anchors {
		if have, ok := b.anchors[kid]; ok && have != a {
			return false
		}
		// Nor may it turn up for a vector that is about its absence.
		for _, v := range b.vectors {
			if id, err := appraisal.KeyID(v.Evidence); err == nil && string(id) == kid && b.anchors[kid] == "" {
				return false
			}
		}
	}
	if used != "" && anchors[used] == "" && b.anchors[used] != "" {
		return false
	}
	for class, s := range states {
		if have, ok := b.states[class]; ok && have != s {
			return false
		}
	}
	return true
}
