// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"errors"
	"fmt"
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
	// NotBefore and NotAfter bound the CoRIM's validity, to the second and
	// inclusively. They are zero where there is no such bound.
	NotBefore, NotAfter time.Time
}

// Decode reads a CoRIM. It refuses what is larger than [MaxCorimSize] before
// it looks at it. A fault is an [*Error] that says where it is and wraps an
// [*AmbiguousKeyError] where one key identifier has two keys. A CoRIM in
// another dialect is an [*UnsupportedDialectError].
//
// The result shares no memory with data.
func Decode(data []byte) (*Corim, error) {
	m, err := readManifest(data)
	if err != nil {
		return nil, err
	}
	p := profileReader{
		dialect: m.dialect,
		known:   new(builder),
		corim:   &Corim{ID: m.id, Dialect: m.dialect, NotBefore: m.notBefore, NotAfter: m.notAfter},
	}
	for i, comid := range m.comids {
		if err := p.comid(comid); err != nil {
			return nil, inComid(i, err)
		}
	}
	return p.corim, nil
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
