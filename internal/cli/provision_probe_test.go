// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
)

func TestAnchorConflict(t *testing.T) {
	one := reportAnchor{KID: "01", Class: "c", Key: "k", Spelling: "s"}
	for name, tc := range map[string]struct {
		other   reportAnchor
		dialect endorsements.Dialect
		want    string
	}{
		"same":             {one, endorsements.DialectV1, ""},
		"key":              {reportAnchor{KID: "01", Class: "c", Key: "x", Spelling: "x"}, endorsements.DialectV2, "another key"},
		"class":            {reportAnchor{KID: "01", Class: "x", Key: "k", Spelling: "s"}, endorsements.DialectV2, "another class"},
		"spelling, old":    {reportAnchor{KID: "01", Class: "c", Key: "k", Spelling: "x"}, endorsements.DialectV1, "another PEM spelling"},
		"spelling, newest": {reportAnchor{KID: "01", Class: "c", Key: "k", Spelling: "x"}, endorsements.DialectV2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := one.conflict(tc.other, tc.dialect)
			require.Equal(t, tc.want == "", got == "", got)
			require.Contains(t, got, tc.want)
		})
	}
}

// A doubt is settled only by what the verifier can tell.
func TestSettle(t *testing.T) {
	asks := errors.New("verifier is down")
	anchors := []reportAnchor{{KID: "01"}, {KID: "02"}}
	for name, tc := range map[string]struct {
		anchors  []reportAnchor
		stateful bool
		dialect  endorsements.Dialect
		there    map[string]bool // nil: the verifier does not answer
		want     anchorsFound
		err      string
	}{
		"present":               {anchors, false, endorsements.DialectV1, map[string]bool{"01": true, "02": true}, anchorsPresent, ""},
		"absent":                {anchors, false, endorsements.DialectV1, map[string]bool{}, anchorsAbsent, ""},
		"half":                  {anchors, false, endorsements.DialectV1, map[string]bool{"01": true}, 0, "has 1 of its 2 trust anchors"},
		"with states, old":      {anchors, true, endorsements.DialectV1, map[string]bool{"01": true, "02": true}, 0, "reference states"},
		"with states, newest":   {anchors, true, endorsements.DialectV2, map[string]bool{"01": true, "02": true}, anchorsPresent, ""},
		"with states, absent":   {anchors, true, endorsements.DialectV1, map[string]bool{}, anchorsAbsent, ""},
		"states alone":          {nil, true, endorsements.DialectV2, map[string]bool{}, 0, "no trust anchor of its own"},
		"brought by another":    {[]reportAnchor{{KID: "09"}}, false, endorsements.DialectV1, map[string]bool{"09": true}, 0, "no trust anchor of its own"},
		"verifier is not there": {anchors, false, endorsements.DialectV1, nil, 0, "key identifier 01: verifier is down"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &anchorProbe{has: func(_ context.Context, a reportAnchor) (bool, error) {
				if tc.there == nil {
					return false, asks
				}
				return tc.there[a.KID], nil
			}}
			r := &report{past: map[string]known{
				"another": {event: eventAccepted, accepted: time.Unix(1, 0), anchors: []reportAnchor{{KID: "09"}}},
				"refused": {event: eventRefused, anchors: []reportAnchor{{KID: "01"}}},
			}}
			got, err := p.settle(t.Context(), r, &provisionItem{anchors: tc.anchors, stateful: tc.stateful, dialect: tc.dialect})
			require.Equal(t, tc.want, got)
			if tc.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tc.err)
			}
		})
	}
}

// The evidence is what a verifier reads to the end, and only its signature is
// wrong.
func TestUnsoundEvidence(t *testing.T) {
	kid := append([]byte{1}, make([]byte, 32)...)
	nonce := make([]byte, 32)
	data, err := unsoundEvidence(kid, nonce)
	require.NoError(t, err)
	u, err := bundle.Parse(data)
	require.NoError(t, err)
	require.Equal(t, kid, []byte(u.KID()))
	pem, err := newKeyPEM()
	require.NoError(t, err)
	anchor, err := endorsements.NewTrustAnchor(fleetClass, kid, pem)
	require.NoError(t, err)
	_, err = u.Verify(anchor.Key, nonce)
	var e *bundle.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, bundle.Signature, e.Check)
}
