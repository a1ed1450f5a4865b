// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"fmt"
	"strconv"
	"strings"
)

// Error says what is refused, and where. Names of triples and fields are those
// of the JSON templates from which CoRIMs are usually made.
type Error struct {
	// Comid is the index of the CoMID among the CoRIM's tags, or -1 where the
	// fault is not inside one.
	Comid int
	// Triple is the kind of triple, such as "reference-values" or
	// "attester-verification-keys", and empty outside triples.
	Triple string
	// Index is the triple's index among those of its kind in its CoMID, or -1
	// outside a single triple.
	Index int
	// Field is the path to the faulty field from there, such as
	// "measurements[2].key". It is empty where the whole is at fault.
	Field string
	// Err says what is wrong and what was expected.
	Err error
}

// Error composes the place and the reason.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Comid >= 0 {
		fmt.Fprintf(&b, "comid[%d]: ", e.Comid)
	}
	if e.Triple != "" {
		b.WriteString(e.Triple)
		if e.Index >= 0 {
			fmt.Fprintf(&b, "[%d]", e.Index)
		}
		b.WriteString(": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// fault is an Error without a place; the callers that know the place add it
// with the functions below on the way up.
func fault(format string, args ...any) error {
	return &Error{Comid: -1, Index: -1, Err: fmt.Errorf(format, args...)}
}

// quote quotes text from the input for a message, and cuts what is too long
// for one.
func quote(s string) string {
	const most = 80
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:most]) + fmt.Sprintf(" and %d bytes more", len(s)-most)
}

// located returns err as an *Error of its own, so that a place can be added.
func located(err error) *Error {
	if e, ok := err.(*Error); ok {
		return e
	}
	return &Error{Comid: -1, Index: -1, Err: err}
}

// inField puts the fault under a field, in front of the path it already has.
func inField(name string, err error) error {
	e := located(err)
	switch {
	case e.Triple != "":
		// The triple's kind and index say where; its path begins anew.
	case e.Field == "":
		e.Field = name
	case e.Field[0] == '[':
		e.Field = name + e.Field
	default:
		e.Field = name + "." + e.Field
	}
	return e
}

// inElement puts the fault into an element of an array.
func inElement(i int, err error) error {
	return inField(fmt.Sprintf("[%d]", i), err)
}

// inTriple puts the fault into a triple, or with index -1 into a whole kind.
func inTriple(kind string, index int, err error) error {
	e := located(err)
	if e.Triple == "" {
		e.Triple, e.Index = kind, index
	}
	return e
}

// inComid puts the fault into a CoMID.
func inComid(index int, err error) error {
	e := located(err)
	e.Comid = index
	return e
}
