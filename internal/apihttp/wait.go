// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package apihttp

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// FirstWait is the longest pause after a first attempt.
	FirstWait   = 100 * time.Millisecond
	longestWait = 2 * time.Second
	// MaxRetryAfter is the longest that a service may ask to be left alone for
	// if it is to be asked again.
	MaxRetryAfter = 30 * time.Second
)

// Backoff is how long to wait after an attempt, counted from 1: up to twice as
// long each time, at random so that many clients do not come back together, and
// no less than the service asks for.
func Backoff(attempt int, retryAfter time.Duration) time.Duration {
	return max(Jitter(min(FirstWait<<min(attempt-1, 10), longestWait)), retryAfter)
}

// Jitter is between half of d and d.
func Jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// Sleep waits, or returns why the context has ended.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
