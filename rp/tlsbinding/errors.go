// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"errors"
	"fmt"
)

// What goes wrong between two sides. Each is found with errors.Is in what Dial,
// Client, Server and the others return.
var (
	// ErrNotSpoken says that the peer does not speak this protocol: it sent
	// something else, or nothing.
	ErrNotSpoken = errors.New("the peer does not speak attested TLS")
	// ErrNoCommonEvidence says that the sides know no common way to attest.
	ErrNoCommonEvidence = errors.New("no common way to attest")
	// ErrNoCommonVerifier says that the sides agree on passports, and trust
	// different verifiers.
	ErrNoCommonVerifier = errors.New("no verifier in common")
	// ErrFraming says that one side wants application data in frames, and the
	// other does not.
	ErrFraming = errors.New("the sides do not agree on framed application data")

	// ErrNotBound says that what the peer showed is not about this connection,
	// or not about the key that it has.
	ErrNotBound = errors.New("the attestation is not bound to this connection")
	// ErrIdentity says that the peer's certificate is not valid, or another's.
	ErrIdentity = errors.New("the peer's certificate is not valid")
	// ErrBusy says that a side has too much to do: attestations that wait for
	// its TPM, or handshakes.
	ErrBusy = errors.New("too busy")
	// ErrStale says that a connection was closed because the peer was not
	// attested again in time.
	ErrStale = errors.New("the peer was not attested again in time")
	// ErrProtocol says that the peer broke the protocol.
	ErrProtocol = errors.New("protocol violation")
	// ErrClosed is the error of a listener or connection that was closed.
	ErrClosed = errors.New("closed")
)

// NegotiationError says that the sides have nothing in common in which one
// could attest to the other. Both sides get it.
type NegotiationError struct {
	// Attester is the side that should have attested: "this side" or "the
	// peer".
	Attester string
	// Shown is what it can show, Accepted what the other side accepts.
	Shown, Accepted []Offer
	// Err is ErrNoCommonEvidence or ErrNoCommonVerifier.
	Err error
}

// Error names both sides' lists.
func (e *NegotiationError) Error() string {
	return fmt.Sprintf("%v: %s can show %s; accepted is %s", e.Err, e.Attester, join(e.Shown), join(e.Accepted))
}

// Unwrap returns what kind of failure it is.
func (e *NegotiationError) Unwrap() error { return e.Err }

// RefusalCode says why a side refuses the other. The numbers are on the wire.
type RefusalCode uint16

// The codes.
const (
	RefusedProtocol    RefusalCode = 1  // a message that is malformed or out of order
	RefusedEvidence    RefusalCode = 2  // no common way to attest
	RefusedVerifier    RefusalCode = 3  // no verifier in common
	RefusedFraming     RefusalCode = 4  // no agreement on framed application data
	RefusedBusy        RefusalCode = 5  // too many attestations wait for the TPM
	RefusedAttester    RefusalCode = 6  // no evidence could be made
	RefusedBinding     RefusalCode = 7  // not bound to this connection
	RefusedIdentity    RefusalCode = 8  // the certificate is not valid
	RefusedAppraisal   RefusalCode = 9  // the verifier or the policy says no
	RefusedUnavailable RefusalCode = 10 // the verifier gave no answer
	RefusedTimeout     RefusalCode = 11 // it took too long
	RefusedInternal    RefusalCode = 12 // something else
)

var refusals = map[RefusalCode]string{
	RefusedProtocol: "protocol violation", RefusedEvidence: "no common way to attest",
	RefusedVerifier: "no verifier in common", RefusedFraming: "no agreement on framing",
	RefusedBusy: "busy", RefusedAttester: "no evidence", RefusedBinding: "not bound to this connection",
	RefusedIdentity: "certificate not valid", RefusedAppraisal: "appraisal", RefusedUnavailable: "verifier unavailable",
	RefusedTimeout: "timeout", RefusedInternal: "internal error",
}

// String says what the code means.
func (c RefusalCode) String() string {
	if s, ok := refusals[c]; ok {
		return s
	}
	return fmt.Sprintf("code %d", uint16(c))
}

// RefusalError says that the peer refused this side.
type RefusalError struct {
	Code RefusalCode
	// Reason is the peer's text, up to 1 KiB. It is the peer's word, to be
	// shown and not to be decided by.
	Reason string
}

// Error says that the peer refuses, and its reason.
func (e *RefusalError) Error() string {
	return fmt.Sprintf("the peer refuses (%v): %q", e.Code, e.Reason)
}

// Is finds the kinds of failure that have an error of their own.
func (e *RefusalError) Is(target error) bool {
	switch e.Code {
	case RefusedEvidence:
		return target == ErrNoCommonEvidence
	case RefusedVerifier:
		return target == ErrNoCommonVerifier
	case RefusedFraming:
		return target == ErrFraming
	case RefusedBusy:
		return target == ErrBusy
	case RefusedBinding:
		return target == ErrNotBound
	case RefusedIdentity:
		return target == ErrIdentity
	}
	return false
}

// Error says at which step a connection failed.
type Error struct {
	// Step is what was being done.
	Step string
	// Err is the reason.
	Err error

	// code and told are what the peer is told.
	code RefusalCode
	told string
}

// Error says what was being done and why it failed.
func (e *Error) Error() string { return fmt.Sprintf("attested TLS: %s: %v", e.Step, e.Err) }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// fail is a failure that the peer is told, with its reason.
func fail(step string, code RefusalCode, err error) *Error {
	return &Error{Step: step, Err: err, code: code, told: err.Error()}
}

// hide is a failure of which the peer is told the kind alone: the reason is
// about this side's own affairs.
func hide(step string, code RefusalCode, err error) *Error {
	return &Error{Step: step, Err: err, code: code, told: code.String()}
}

// protocolError wraps what is wrong with the peer's messages.
func protocolError(step string, err error) *Error {
	return fail(step, RefusedProtocol, fmt.Errorf("%w: %w", ErrProtocol, err))
}
