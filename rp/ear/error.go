// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package ear

import "fmt"

// Check names the check that a token failed. The values are stable.
type Check string

// The checks, in the order in which Verify makes them.
const (
	// Malformed: not a JWS in compact serialisation, not strict base64url or
	// JSON, too large, or a claim that is missing, doubled or of a wrong type.
	Malformed Check = "malformed"
	// Algorithm: not the algorithm of any key of the verifier.
	Algorithm Check = "algorithm"
	// Signature: no key of the verifier made it.
	Signature Check = "signature"
	// Profile: not an EAR of a profile that this package reads.
	Profile Check = "profile"
	// Nonce: made for another nonce, or for none.
	Nonce Check = "nonce"
	// Time: issued in the future or before it was asked for, or not valid yet.
	Time Check = "time"
	// Expired: past its expiry or older than is accepted.
	Expired Check = "expired"
	// Verifier: made by another verifier than the expected one.
	Verifier Check = "verifier"
)

// Error says which check a token failed, and how.
type Error struct {
	Check Check
	// Err says what was found and what was expected.
	Err error
}

func errorf(c Check, format string, args ...any) *Error {
	return &Error{Check: c, Err: fmt.Errorf(format, args...)}
}

// Error names the check and the reason.
func (e *Error) Error() string { return fmt.Sprintf("EAR refused (%s): %v", e.Check, e.Err) }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }
