// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"errors"
	"fmt"
	"time"

	"github.com/veraison/attested-tls/internal/apihttp"
)

// ErrUnknownOutcome says that endorsements were sent, or may have been, and that
// nobody knows what became of them: the answer did not arrive, or a gateway has
// lost it. Sending them again may store them twice.
var ErrUnknownOutcome = errors.New("it is not known whether the verifier has taken the endorsements")

// RefusedError says that the verifier does not take endorsements: it has read
// them, and its answer is "failed".
type RefusedError struct {
	// Reason is the verifier's own, cut short where it is long; it may be empty.
	Reason string
}

// Error gives the reason.
func (e *RefusedError) Error() string {
	if e.Reason == "" {
		return "the verifier refuses the endorsements and gives no reason"
	}
	return "the verifier refuses the endorsements: " + e.Reason
}

// ProblemError is an answer with an HTTP status other than the one that was
// hoped for, and what its problem document (RFC 9457) says.
type ProblemError struct {
	// Operation is what was asked for.
	Operation string
	// Status is the HTTP status.
	Status int
	// Title and Detail are the service's words, cut short where they are long.
	Title, Detail string
	// RetryAfter is how long the service asks to be left alone.
	RetryAfter time.Duration
}

// Error says what was asked for and what came instead.
func (e *ProblemError) Error() string {
	text := fmt.Sprintf("%s: HTTP %d", e.Operation, e.Status)
	for _, part := range []string{e.Title, e.Detail} {
		if part != "" {
			text += ": " + part
		}
	}
	return text
}

// ProtocolError says that what answered does not speak as a provisioning
// service does.
type ProtocolError struct {
	// Operation is what was asked for.
	Operation string
	// Err says what is wrong with the answer.
	Err error
}

// Error says what was asked for and what is wrong with the answer.
func (e *ProtocolError) Error() string { return e.Operation + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *ProtocolError) Unwrap() error { return e.Err }

func protocolf(operation, format string, args ...any) error {
	return &ProtocolError{Operation: operation, Err: fmt.Errorf(format, args...)}
}

// problem makes an error of an answer.
func (a *answer) problem(operation string) *ProblemError {
	e := &ProblemError{Operation: operation, Status: a.status, RetryAfter: a.retryAfter}
	e.Title, e.Detail = apihttp.Problem(a.status, a.body)
	return e
}
