// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import (
	"context"
	"errors"
	"time"

	"github.com/veraison/attested-tls/rp/ear"
)

// NonceSize is the length of a verifier's own nonces, in bytes.
const NonceSize = 32

// Evidence is what an attester made for a nonce.
type Evidence struct {
	// MediaType says what Data is: a type that the session accepts, or one of
	// a CMW (RFC 9999) around it.
	MediaType string
	Data      []byte
}

// AttestationResult is a verifier's signed answer, verified.
type AttestationResult = ear.AttestationResult

// Verifier appraises evidence. Implementations may be used by several
// goroutines.
type Verifier interface {
	// NewSession opens a session for a nonce of 8 to 64 bytes or, if that is
	// nil, for one of NonceSize bytes that the verifier chooses. The caller
	// must Close it.
	NewSession(ctx context.Context, nonce []byte) (Session, error)
}

// Session is one challenge and one answer.
type Session interface {
	// Nonce is what the evidence has to be made for. It must not be changed.
	Nonce() []byte
	// Accept lists the media types of evidence that the verifier takes.
	Accept() []string
	// Expiry is when the verifier forgets the session, by this machine's
	// clock; zero where the verifier does not say.
	Expiry() time.Time
	// Appraise has evidence appraised, once: a second time is ErrSessionUsed.
	// It returns a result if and only if the verifier gave one, signed, for
	// the session's nonce. A result may well condemn the evidence.
	Appraise(ctx context.Context, e Evidence) (*AttestationResult, error)
	// Close gives the session up. It does not wait for the verifier, and may
	// be called again and after Appraise.
	Close() error
}

var (
	// ErrSessionUsed is the error of a session that was used or closed before.
	ErrSessionUsed = errors.New("the session was used or closed before")
	// ErrSessionExpired is the error of a session that came to its end unused.
	ErrSessionExpired = errors.New("the session has expired")
	// ErrUnfinished says that the verifier took the evidence, and had no
	// result in the time that there was.
	ErrUnfinished = errors.New("the verifier has not finished")
	// ErrClosed is the error of a pool or client that was closed.
	ErrClosed = errors.New("closed")
)

// Appraise has evidence appraised and applies a policy to the result. It
// returns a result if and only if the policy accepts it.
func Appraise(ctx context.Context, s Session, e Evidence, p Policy) (*AttestationResult, error) {
	if p == nil {
		return nil, ErrNoPolicy // before the session is used up
	}
	r, err := s.Appraise(ctx, e)
	if err != nil {
		return nil, err
	}
	if err := p.Check(r); err != nil {
		return nil, err
	}
	return r, nil
}
