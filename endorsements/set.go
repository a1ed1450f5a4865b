// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"fmt"
	"slices"

	"github.com/veraison/eat"
)

// Set is what a verifier has been given, for look-up during appraisals. The
// zero value is empty.
type Set struct {
	anchors map[string]TrustAnchor
	states  map[string][]ReferenceState
}

// NewSet combines CoRIMs. The same key in the same class under one key
// identifier is one trust anchor however often it occurs; different keys or
// classes under one key identifier are an [*AmbiguousKeyError]. Equal states
// of a class are one state.
//
// NewSet has no clock: call [Corim.CheckValidity] on each CoRIM before.
func NewSet(corims ...*Corim) (*Set, error) {
	var b builder
	for i, c := range corims {
		if c == nil {
			return nil, inField(fmt.Sprintf("corims[%d]", i), fault("missing"))
		}
		if _, _, err := b.add(c); err != nil {
			return nil, inField(fmt.Sprintf("corims[%d]", i), err)
		}
	}
	for class, states := range b.set.states {
		b.set.states[class] = slices.Clip(states)
	}
	return &b.set, nil
}

// TrustAnchor returns the anchor with a key identifier, and whether there is
// one.
func (s *Set) TrustAnchor(kid []byte) (TrustAnchor, bool) {
	a, ok := s.anchors[string(kid)]
	return a, ok
}

// States returns the states that a platform of a class may have, none if
// nothing is known about the class. The class is in canonical lower-case form,
// as [TrustAnchor] has it. The slice is shared and must not be changed.
func (s *Set) States(class string) []ReferenceState {
	return s.states[class]
}

// AmbiguousKeyError says that a key identifier stands for more than one key,
// or for a key in more than one class.
type AmbiguousKeyError struct {
	KID eat.UEID
	// First and Second are two different anchors with that key identifier.
	First, Second TrustAnchor
}

// Error names the key identifier in hexadecimal.
func (e *AmbiguousKeyError) Error() string {
	if e.First.Class != e.Second.Class {
		return fmt.Sprintf("kid %x is provisioned in two classes, %s and %s", []byte(e.KID), e.First.Class, e.Second.Class)
	}
	return fmt.Sprintf("kid %x is provisioned with two different keys", []byte(e.KID))
}

// builder makes a Set and says of each part whether it is new.
type builder struct {
	set  Set
	seen map[string]struct{} // identities of states
}

// add adds a whole CoRIM, which anybody can have put together, and returns
// what was new in it.
func (b *builder) add(c *Corim) (anchors []TrustAnchor, states []ReferenceState, err error) {
	for i, a := range c.Anchors {
		if a.Class == "" || len(a.KID) == 0 || a.Key == nil {
			return nil, nil, inField(fmt.Sprintf("anchors[%d]", i), fault("incomplete; expected one made by NewTrustAnchor"))
		}
		if err := checkKey(a.Key); err != nil {
			return nil, nil, inField(fmt.Sprintf("anchors[%d]", i), err)
		}
		added, err := b.addAnchor(a)
		if err != nil {
			return nil, nil, inField(fmt.Sprintf("anchors[%d]", i), err)
		}
		if added {
			anchors = append(anchors, a)
		}
	}
	for i, s := range c.States {
		if s.class == "" || len(s.values) == 0 {
			return nil, nil, inField(fmt.Sprintf("states[%d]", i), fault("empty; expected one made by NewReferenceState"))
		}
		if b.addState(s) {
			states = append(states, s)
		}
	}
	return anchors, states, nil
}

func (b *builder) addAnchor(a TrustAnchor) (added bool, err error) {
	if known, ok := b.set.anchors[string(a.KID)]; ok {
		if known.Class != a.Class || !sameKey(known.Key, a.Key) {
			return false, &AmbiguousKeyError{KID: a.KID, First: known, Second: a}
		}
		return false, nil
	}
	if b.set.anchors == nil {
		b.set.anchors = make(map[string]TrustAnchor)
	}
	b.set.anchors[string(a.KID)] = a
	return true, nil
}

func (b *builder) addState(s ReferenceState) (added bool) {
	id := s.identity()
	if _, ok := b.seen[id]; ok {
		return false
	}
	if b.seen == nil {
		b.seen = make(map[string]struct{})
		b.set.states = make(map[string][]ReferenceState)
	}
	b.seen[id] = struct{}{}
	b.set.states[s.class] = append(b.set.states[s.class], s)
	return true
}
