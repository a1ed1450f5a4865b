// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"crypto"
	"crypto/ecdsa"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSet(t *testing.T) {
	a := mustAnchor(t, classA, kidA, pemA)
	rewrapped := mustAnchor(t, classA, kidA, spkiPEM(t, a.Key))
	require.NotEqual(t, a.PEM, rewrapped.PEM)
	b := mustAnchor(t, classB, kidB, pemA) // one key may have two identifiers
	old := mustState(t, classA, value(crypto.SHA256, 0, 1))
	updated := mustState(t, classA, value(crypto.SHA256, 0, 2))
	foreign := mustState(t, classB, value(crypto.SHA256, 0, 1))

	s, err := NewSet(
		&Corim{Anchors: []TrustAnchor{a, b}, States: []ReferenceState{old, updated}},
		&Corim{Anchors: []TrustAnchor{rewrapped}, States: []ReferenceState{foreign, old}},
	)
	require.NoError(t, err)

	got, ok := s.TrustAnchor(kidA)
	assert.True(t, ok)
	assert.Equal(t, a, got)
	got, ok = s.TrustAnchor(kidB)
	assert.True(t, ok)
	assert.Equal(t, b, got)
	for _, kid := range [][]byte{nil, {}, kidA[:32], append(kidA[:33:33], 0)} {
		got, ok = s.TrustAnchor(kid)
		assert.False(t, ok)
		assert.Zero(t, got)
	}

	assert.Equal(t, []ReferenceState{old, updated}, s.States(classA))
	assert.Equal(t, []ReferenceState{foreign}, s.States(classB))
	assert.Empty(t, s.States(""))
	assert.Empty(t, s.States(strings.ToUpper(classA)))
}

func TestSetEmpty(t *testing.T) {
	made, err := NewSet()
	require.NoError(t, err)
	for _, s := range []*Set{made, {}} {
		_, ok := s.TrustAnchor(kidA)
		assert.False(t, ok)
		assert.Empty(t, s.States(classA))
	}
}

func TestSetLookUpAllocatesNothing(t *testing.T) {
	s, err := NewSet(&Corim{
		Anchors: []TrustAnchor{mustAnchor(t, classA, kidA, pemA)},
		States:  []ReferenceState{mustState(t, classA, value(crypto.SHA256, 0, 1))},
	})
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		a, _ := s.TrustAnchor(kidA)
		s.States(a.Class)
	}))
}

func TestNewSetRefuses(t *testing.T) {
	a := mustAnchor(t, classA, kidA, pemA)
	in := func(anchors ...TrustAnchor) []*Corim { return []*Corim{{Anchors: anchors}} }
	kid := "01" + strings.Repeat("aa", 32)
	tests := map[string]struct {
		corims []*Corim
		want   string
	}{
		"no CoRIM": {[]*Corim{{}, nil}, `corims[1]: missing`},
		"two keys": {in(a, mustAnchor(t, classA, kidA, pemB)),
			`corims[0].anchors[1]: kid ` + kid + ` is provisioned with two different keys`},
		"two keys in two CoRIMs": {append(in(a), in(mustAnchor(t, classA, kidA, pemB))...),
			`corims[1].anchors[0]: kid ` + kid + ` is provisioned with two different keys`},
		"two classes": {in(a, mustAnchor(t, classB, kidA, pemA)),
			`corims[0].anchors[1]: kid ` + kid + ` is provisioned in two classes, ` + classA + ` and ` + classB},
		"no class":    {in(TrustAnchor{KID: a.KID, Key: a.Key, PEM: a.PEM}), `corims[0].anchors[0]: incomplete; expected one made by NewTrustAnchor`},
		"no kid":      {in(TrustAnchor{Class: a.Class, Key: a.Key, PEM: a.PEM}), `corims[0].anchors[0]: incomplete; expected one made by NewTrustAnchor`},
		"no key":      {in(TrustAnchor{Class: a.Class, KID: a.KID, PEM: a.PEM}), `corims[0].anchors[0]: incomplete; expected one made by NewTrustAnchor`},
		"nil key":     {in(TrustAnchor{Class: a.Class, KID: a.KID, Key: (*ecdsa.PublicKey)(nil), PEM: a.PEM}), `corims[0].anchors[0]: expected an ECDSA or RSA key, found none`},
		"odd key":     {in(TrustAnchor{Class: a.Class, KID: a.KID, Key: 7, PEM: a.PEM}), `corims[0].anchors[0]: expected an ECDSA or RSA key, found int`},
		"empty state": {[]*Corim{{States: make([]ReferenceState, 1)}}, `corims[0].states[0]: empty; expected one made by NewReferenceState`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := NewSet(test.corims...)
			assert.Nil(t, s)
			require.EqualError(t, err, test.want)
			var ambiguous *AmbiguousKeyError
			if strings.Contains(name, "two") {
				require.ErrorAs(t, err, &ambiguous)
				assert.Equal(t, kidA, []byte(ambiguous.KID))
				assert.Equal(t, a, ambiguous.First)
			} else {
				assert.NotErrorAs(t, err, &ambiguous)
			}
		})
	}
}

// TestNewSetManyStates: a full CoRIM must not cost the square of its states.
func TestNewSetManyStates(t *testing.T) {
	c := &Corim{}
	for i := range 10000 {
		d := digest(crypto.SHA256, 0)
		copy(d, fmt.Sprint(i))
		c.States = append(c.States, mustState(t, classA, PCRValue{PCR{crypto.SHA256, 0}, d}))
	}
	s, err := NewSet(c)
	require.NoError(t, err)
	assert.Len(t, s.States(classA), 10000)
}
