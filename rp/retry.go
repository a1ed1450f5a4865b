// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/veraison/attested-tls/internal/apihttp"
)

// What is repeated, and what is not:
//
// Opening a session, asking for its state and deleting it are repeated when the
// connection fails and when the answer is one of the statuses below; a session
// too many expires by itself.
//
// Evidence is sent once. Only a connection that could not be made at all is
// tried again: whatever else goes wrong, the verifier may have processed it.

const attempts = 4

// repeatable tells whether the outcome of a request may be another one the next
// time, and whether asking is safe.
func (r *request) repeatable(a *answer, err error) bool {
	var (
		protocol    *ProtocolError
		certificate *tls.CertificateVerificationError
		token       *apihttp.TokenError
		op          *net.OpError
	)
	switch {
	case err == nil && r.once:
		return false
	case err == nil:
		switch a.status {
		case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
			http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return a.retryAfter <= apihttp.MaxRetryAfter
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

// backoff is how long to wait after an attempt.
func backoff(attempt int, a *answer) time.Duration {
	if a == nil {
		return apihttp.Backoff(attempt, 0)
	}
	return apihttp.Backoff(attempt, a.retryAfter)
}
