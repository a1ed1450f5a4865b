// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Corim is what one CoRIM endorses.
type Corim struct {
	// ID is the CoRIM's identifier; a UUID is in canonical lower-case form.
	ID string
	// Dialect is the dialect that the CoRIM was read from. Encode is told its
	// own.
	Dialect Dialect
	// Anchors and States are in the order in which they occur in the CoRIM,
	// each of them once.
	Anchors []TrustAnchor
	States  []ReferenceState
	// Classes describes classes of Anchors and States for people. Decode sorts
	// them by class-id.
	Classes []ClassDescription
	// Entities are those that the CoRIM itself names.
	Entities []Entity
	// NotBefore and NotAfter bound the CoRIM's validity, to the second and
	// inclusively. They are zero where there is no such bound.
	NotBefore, NotAfter time.Time
}

// ClassDescription is what a CoRIM says of a class for people. It decides
// nothing: a class is known by its id alone.
type ClassDescription struct {
	// Class is the class-id, a UUID in canonical lower-case text form.
	Class string
	// Vendor and Model are names. One of them may be empty.
	Vendor, Model string
}

// Decode reads a CoRIM in either dialect, which it tells apart by content. It
// refuses what is larger than [MaxCorimSize] before it looks at it. A fault is
// an [*Error] that says where it is. It wraps an [*AmbiguousKeyError] where one
// key identifier has two keys, and [ErrSigned] where the CoRIM is in a
// COSE_Sign1 message.
//
// What describes a single CoMID (its identity, language and entities) is checked
// for its form and not in the result. [Convert] keeps it.
//
// The result shares no memory with data.
func Decode(data []byte) (*Corim, error) {
	m, err := readManifest(data)
	if err != nil {
		return nil, err
	}
	p := newProfileReader(m)
	for i, comid := range m.comids {
		if err := p.comid(comid); err != nil {
			return nil, inComid(i, err)
		}
	}
	slices.SortFunc(p.corim.Classes, func(a, b ClassDescription) int { return strings.Compare(a.Class, b.Class) })
	return p.corim, nil
}

func newProfileReader(m *manifest) *profileReader {
	return &profileReader{
		dialect: m.dialect,
		known:   new(builder),
		corim: &Corim{
			ID: m.id, Dialect: m.dialect, Entities: m.entities, NotBefore: m.notBefore, NotAfter: m.notAfter,
		},
	}
}

// What CheckValidity finds, to be told apart with errors.Is.
var (
	ErrExpired     = errors.New("the CoRIM has expired")
	ErrNotYetValid = errors.New("the CoRIM is not valid yet")
)

// CheckValidity refuses a CoRIM outside its period of validity
// (draft-ietf-rats-corim-11, 7.3) with [ErrExpired] or [ErrNotYetValid]. A
// CoRIM without a period is valid at any time.
func (c *Corim) CheckValidity(now time.Time) error {
	if !c.NotBefore.IsZero() && now.Before(c.NotBefore) {
		return fmt.Errorf("%w: not before %s", ErrNotYetValid, c.NotBefore.UTC().Format(time.RFC3339))
	}
	if !c.NotAfter.IsZero() && now.After(c.NotAfter) {
		return fmt.Errorf("%w: not after %s", ErrExpired, c.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkPeriod refuses a period that has no point in time.
func checkPeriod(notBefore, notAfter time.Time) error {
	if notAfter.Before(notBefore) {
		return inField("not-after", fault("expected %s or later, found %s",
			notBefore.UTC().Format(time.RFC3339), notAfter.UTC().Format(time.RFC3339)))
	}
	return nil
}
