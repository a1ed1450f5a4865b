// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

var errNoKey = errors.New("no key given")

// TPM is a connection to a TPM 2.0. Its methods may be called concurrently.
type TPM struct {
	link link
	// slot is held by the operation under way. Goroutines that wait to send
	// on a channel are served in the order of their arrival.
	slot  chan struct{}
	open  context.Context // ends when Close is called
	close func() error

	// residents are keys that stay loaded, the least recently used first.
	// Guarded by slot.
	residents []resident
	// stale are objects and sessions that could not be flushed, because the
	// connection broke. Guarded by slot.
	stale []tpm2.TPMHandle
}

// New uses t, which the TPM closes in the end. t's Send is never called
// concurrently, and once called is waited for: the context of an operation
// cannot interrupt it.
func New(t transport.TPMCloser) *TPM {
	return newTPM(plainLink{t})
}

func newTPM(l link) *TPM {
	open, shut := context.WithCancel(context.Background())
	t := &TPM{link: l, slot: make(chan struct{}, 1), open: open}
	t.close = sync.OnceValue(func() error {
		shut()
		// The operation under way ends before its next command. The slot is
		// never given back: no other begins.
		t.slot <- struct{}{}
		t.leave()
		return l.Close()
	})
	return t
}

// Close ends the connection. It waits for the command that the TPM is
// executing; operations that wait for their turn, and later ones, fail with
// [ErrClosed].
func (t *TPM) Close() error { return t.close() }

// leave takes out of the TPM what is still there. The slot is held. If the TPM
// does not answer any more there is nobody to tell.
func (t *TPM) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveLimit)
	defer cancel()
	o := &operation{ctx: ctx, commandCtx: ctx, tpm: t}
	if o.flushStale() == nil {
		o.evictOthers()
	}
}

// Do gives fn the TPM for itself, with keys loaded, for commands that this
// package does not offer. Every object and session that fn leaves in the TPM
// is flushed when it ends, in whatever way; keys that stayed there since earlier
// operations are flushed before. fn must not use tpm or the handles afterwards.
// When ctx ends, fn's next command fails; Do returns with fn.
//
// With two keys loaded the TPM has room for one more object.
func (t *TPM) Do(ctx context.Context, fn func(tpm transport.TPM, keys []tpm2.AuthHandle) error, keys ...*Key) (err error) {
	if err := t.own(keys...); err != nil {
		return err
	}
	o, err := t.begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		err = lockoutHint(o.end(err))
		o.release()
	}()
	if err := o.flushStale(); err != nil {
		return err
	}
	handles := make([]tpm2.AuthHandle, 0, len(keys))
	for _, k := range keys {
		h, err := o.load(k)
		if err != nil {
			return err
		}
		handles = append(handles, h)
	}
	if err := o.evictOthers(); err != nil {
		return err
	}
	return fn(o, handles)
}

// run runs fn when its turn comes and returns what fn returns, or as soon as
// ctx ends: fn then goes on in the background until its next command. So fn
// must share no variables with its caller.
func run[T any](ctx context.Context, t *TPM, fn func(*operation) (T, error)) (T, error) {
	var zero T
	o, err := t.begin(ctx)
	if err != nil {
		return zero, err
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer o.release() // after the result is there
		var r result
		r.value, r.err = attempt(o, fn)
		r.err = lockoutHint(o.end(r.err))
		done <- r
	}()
	var r result
	select {
	case r = <-done:
	case <-o.ctx.Done():
		select {
		case r = <-done: // both were ready: do not throw the result away
		default:
			return zero, fmt.Errorf("TPM operation abandoned: %w", reason(o.ctx))
		}
	}
	if r.err != nil {
		return zero, r.err
	}
	return r.value, nil
}

// attempt runs fn after what earlier operations could not flush is gone.
func attempt[T any](o *operation, fn func(*operation) (T, error)) (value T, err error) {
	// go-tpm marshals by reflection and panics on what it cannot marshal, such
	// as a union with the wrong selector. Templates come from callers, and
	// this is a goroutine of its own, where a panic ends the process.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("TPM structure cannot be marshalled: %v", r)
		}
	}()
	if err := o.flushStale(); err != nil {
		return value, err
	}
	return fn(o)
}

// begin waits for the operation's turn.
func (t *TPM) begin(ctx context.Context) (*operation, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(t.open, func() { cancel(ErrClosed) })
	release := func() {
		unhook()
		cancel(nil)
	}
	if t.open.Err() != nil {
		// AfterFunc runs in its own goroutine, which may be late.
		release()
		return nil, ErrClosed
	}
	if ctx.Err() == nil {
		select {
		case t.slot <- struct{}{}:
			if ctx.Err() == nil {
				return &operation{ctx: ctx, commandCtx: ctx, tpm: t, release: release}, nil
			}
			<-t.slot
		case <-ctx.Done():
		}
	}
	err := reason(ctx)
	release()
	return nil, fmt.Errorf("waiting for the TPM: %w", err)
}

// reason says why ctx ended. It wraps ctx.Err() and, where there is one, the
// cause.
func reason(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, ErrClosed) || errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// own checks that keys are there and of this TPM.
func (t *TPM) own(keys ...*Key) error {
	for _, k := range keys {
		if k == nil {
			return errNoKey
		}
		if k.tpm != t {
			return errors.New("the key is of another TPM")
		}
	}
	return nil
}
