// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// What is repeated, and what is not:
//
// Opening a session, asking for its state and deleting it are repeated when the
// connection fails and when the answer is one of the statuses below; a session
// too many expires by itself.
//
// Evidence is sent once. Only a connection that could not be made at all is
// tried again: whatever else goes wrong, the verifier may have processed it.

const (
	attempts    = 4
	firstWait   = 100 * time.Millisecond
	longestWait = 2 * time.Second
	// A verifier that asks for more than this is not waited for.
	maxRetryAfter = 30 * time.Second
)

// repeatable tells whether the outcome of a request may be another one the next
// time, and whether asking is safe.
func (r *request) repeatable(a *answer, err error) bool {
	var (
		protocol    *ProtocolError
		certificate *tls.CertificateVerificationError
		token       *tokenError
		op          *net.OpError
	)
	switch {
	case err == nil && r.once:
		return false
	case err == nil:
		switch a.status {
		case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
			http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return a.retryAfter <= maxRetryAfter
		}
		return false
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &protocol), errors.As(err, &certificate), errors.As(err, &token):
		return false
	case r.once:
		return errors.As(err, &op) && op.Op == "dial"
	}
	return true
}

// backoff is how long to wait after an attempt: up to twice as long each time,
// at random so that many clients do not come back together, and no less than
// the verifier asks for.
func backoff(attempt int, a *answer) time.Duration {
	wait := jitter(min(firstWait<<min(attempt-1, 10), longestWait))
	if a != nil {
		wait = max(wait, a.retryAfter)
	}
	return wait
}

// jitter is between half of d and d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
