// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import (
	"context"
	"slices"
	"time"
)

// Trace is a set of callbacks that tell what happens, in the manner of
// net/http/httptrace. Any of them may be nil. They are called synchronously, by
// several goroutines, and must return soon. Durations are of the whole step.
type Trace struct {
	// SessionOpened ends a NewSession of a Verifier. The session is nil if and
	// only if the error is not.
	SessionOpened func(s Session, took time.Duration, err error)
	// RequestDone ends an HTTP request. Attempts are counted from 1; the status
	// is 0 where there was no answer.
	RequestDone func(operation string, attempt, status int, took time.Duration, err error)
	// Waiting precedes the wait before a request is repeated or, with a nil
	// reason, before a result is asked for again.
	Waiting func(operation string, wait time.Duration, reason error)
	// KeysFetched ends a look for the verifier's keys at its well-known
	// endpoint.
	KeysFetched func(keys int, took time.Duration, err error)
	// Appraised ends an Appraise: the verification of the result is part of it.
	Appraised func(r *AttestationResult, took time.Duration, err error)
	// PoolTaken tells that a Pool was asked for a session: whether it had one
	// ready, and how many it has left.
	PoolTaken func(hit bool, ready int)
	// PoolRefilled tells that a Pool has opened a session, or has failed to,
	// and how many it has now.
	PoolRefilled func(ready int, err error)
}

type traceKey struct{}

// WithTrace has what happens under the returned context told to t too.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	if t == nil {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, append(slices.Clip(tracesOf(ctx)), t))
}

type traces []*Trace

func tracesOf(ctx context.Context) traces {
	t, _ := ctx.Value(traceKey{}).(traces)
	return t
}

func (all traces) sessionOpened(s Session, took time.Duration, err error) {
	for _, t := range all {
		if t.SessionOpened != nil {
			t.SessionOpened(s, took, err)
		}
	}
}

func (all traces) requestDone(operation string, attempt, status int, took time.Duration, err error) {
	for _, t := range all {
		if t.RequestDone != nil {
			t.RequestDone(operation, attempt, status, took, err)
		}
	}
}

func (all traces) waiting(operation string, wait time.Duration, reason error) {
	for _, t := range all {
		if t.Waiting != nil {
			t.Waiting(operation, wait, reason)
		}
	}
}

func (all traces) keysFetched(keys int, took time.Duration, err error) {
	for _, t := range all {
		if t.KeysFetched != nil {
			t.KeysFetched(keys, took, err)
		}
	}
}

func (all traces) appraised(r *AttestationResult, took time.Duration, err error) {
	for _, t := range all {
		if t.Appraised != nil {
			t.Appraised(r, took, err)
		}
	}
}

func (all traces) poolTaken(hit bool, ready int) {
	for _, t := range all {
		if t.PoolTaken != nil {
			t.PoolTaken(hit, ready)
		}
	}
}

func (all traces) poolRefilled(ready int, err error) {
	for _, t := range all {
		if t.PoolRefilled != nil {
			t.PoolRefilled(ready, err)
		}
	}
}
