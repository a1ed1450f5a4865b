// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

// Package passport obtains an attestation result (an EAR) about this machine
// from a verifier, keeps it fresh in the background, and hands it out with the
// key that it is about. It is the attester's half of the passport model (RFC
// 9334, section 5.1): the attester asks the verifier, and shows the answer to
// whoever relies on it.
//
// [New] starts with a way to a verifier and an attester; [Passport.Wait] or
// [Passport.Current] give the [Document] of the moment; [Passport.Close] ends
// it. The package knows neither verifiers nor TPMs: an [Appraise] is some lines
// around a verifier's client, and attester.Attester is an [Attester].
//
// # Threat model
//
// Nothing is verified here. The EAR is the verifier's word to the relying
// party, who checks its signature, its age and that the peer has its key; an
// attester that was given a false one finds out when it is refused. An EAR is no
// secret, but it says what is installed on the machine.
//
// An EAR says how the machine was when the verifier saw it. Until it expires it
// says so still, whatever happened since: choose the time with that in mind.
package passport

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// ErrClosed is the error of a passport that was closed.
var ErrClosed = errors.New("the passport is closed")

// NoneError says that there is no fresh EAR at hand.
type NoneError struct {
	// Expired is when the last one did; zero if there was none.
	Expired time.Time
	// Last is what the last attempt to get one failed with; nil if the first
	// is still under way.
	Last error
}

func (e *NoneError) Error() string {
	s := "no attestation result obtained yet"
	if !e.Expired.IsZero() {
		s = "the attestation result expired at " + e.Expired.UTC().Format(time.RFC3339)
	}
	if e.Last != nil {
		s += ": " + e.Last.Error()
	}
	return s
}

func (e *NoneError) Unwrap() error { return e.Last }

// Attester makes evidence, as a CMW in CBOR, and signs with the key that the
// evidence is about.
type Attester interface {
	Attest(ctx context.Context, nonce []byte) ([]byte, error)
	Signer() crypto.Signer
}

// Appraise obtains an EAR: it opens a session with a verifier, calls attest
// with the session's nonce, has the verifier appraise what that returns, and
// ends the session. The EAR is one that the relying parties will accept: what
// the verifier refused is an error.
type Appraise func(ctx context.Context, attest func(ctx context.Context, nonce []byte) (cmw []byte, err error)) (Result, error)

// Result is what a verifier said.
type Result struct {
	// EAR is the signed result.
	EAR []byte
	// Expires is when relying parties stop to accept it: its exp, or its iat
	// and the age that they allow.
	Expires time.Time
}

// Document is an EAR with its key.
type Document struct {
	Result
	// Signer is the key that the EAR is about.
	Signer crypto.Signer
}

// Config says how the passport is kept. Appraise and Attester are needed.
type Config struct {
	Appraise Appraise
	Attester Attester

	// Margin is how long an EAR is still valid when it is handed out, for the
	// time until it is looked at: 10 seconds if zero.
	Margin time.Duration
	// Timeout bounds one attempt: 30 seconds if zero.
	Timeout time.Duration
	// MinBackoff and MaxBackoff are the time between attempts that fail: from 1
	// second, twice as long each time, to 1 minute, if zero. There is never
	// less than MinBackoff between two attempts.
	MinBackoff, MaxBackoff time.Duration
	// Failed, unless nil, is told of each attempt that failed.
	Failed func(error)
}

// Passport is an EAR that is kept fresh. Its methods may be called
// concurrently.
type Passport struct {
	cfg    Config
	signer crypto.Signer
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	result  Result
	last    error
	closed  bool
	changed chan struct{} // closed and replaced when something above changes
}

// New starts to obtain an EAR in the background. It does not wait for one.
func New(cfg Config) (*Passport, error) {
	if cfg.Appraise == nil || cfg.Attester == nil {
		return nil, errors.New("passport: no way to a verifier, or no attester, is given")
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&cfg.Margin, 10 * time.Second},
		{&cfg.Timeout, 30 * time.Second},
		{&cfg.MinBackoff, time.Second},
		{&cfg.MaxBackoff, time.Minute},
	} {
		if *d.value < 0 {
			return nil, errors.New("passport: a time is negative")
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	cfg.MaxBackoff = max(cfg.MaxBackoff, cfg.MinBackoff)
	ctx, cancel := context.WithCancel(context.Background())
	p := &Passport{
		cfg:     cfg,
		signer:  cfg.Attester.Signer(),
		cancel:  cancel,
		done:    make(chan struct{}),
		changed: make(chan struct{}),
	}
	go p.keep(ctx)
	return p, nil
}

// Close ends the background work, and with it an attempt that is under way,
// and waits for its end.
func (p *Passport) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		p.announce()
	}
	p.mu.Unlock()
	p.cancel()
	<-p.done
	return nil
}

// Current returns the EAR of the moment. If there is none that is fresh, the
// error is a *NoneError; after Close it is ErrClosed.
func (p *Passport) Current() (Document, error) {
	d, _, err := p.current()
	return d, err
}

// Wait returns the EAR of the moment, or waits until there is one. When ctx ends
// before, the error says why there is none: it wraps ctx's and a *NoneError.
func (p *Passport) Wait(ctx context.Context) (Document, error) {
	for {
		d, changed, err := p.current()
		if err == nil || errors.Is(err, ErrClosed) {
			return d, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Document{}, fmt.Errorf("waiting for an attestation result: %w: %w", context.Cause(ctx), err)
		}
	}
}

func (p *Passport) current() (Document, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return Document{}, p.changed, ErrClosed
	case time.Until(p.result.Expires) < p.cfg.Margin:
		return Document{}, p.changed, &NoneError{Expired: p.result.Expires, Last: p.last}
	default:
		r := Result{EAR: bytes.Clone(p.result.EAR), Expires: p.result.Expires}
		return Document{Result: r, Signer: p.signer}, p.changed, nil
	}
}

// announce wakes who waits. mu is held.
func (p *Passport) announce() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// keep obtains EARs until ctx ends.
func (p *Passport) keep(ctx context.Context) {
	defer close(p.done)
	backoff := p.cfg.MinBackoff
	for {
		result, err := p.obtain(ctx)
		if ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		p.last = err
		if err == nil {
			p.result = result
		}
		p.announce()
		p.mu.Unlock()

		var pause time.Duration
		if err == nil {
			backoff = p.cfg.MinBackoff
			pause = max(renewal(time.Until(result.Expires)-p.cfg.Margin), p.cfg.MinBackoff)
		} else {
			if p.cfg.Failed != nil {
				p.cfg.Failed(err)
			}
			// Jitter, so that machines that lost their verifier together do
			// not come back together.
			pause = max(spread(backoff, 0.5), p.cfg.MinBackoff)
			backoff = min(2*backoff, p.cfg.MaxBackoff)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// obtain makes one attempt.
func (p *Passport) obtain(ctx context.Context) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	r, err := p.cfg.Appraise(ctx, p.cfg.Attester.Attest)
	if err != nil {
		return Result{}, fmt.Errorf("obtaining an attestation result: %w", err)
	}
	switch {
	case len(r.EAR) == 0:
		return Result{}, errors.New("obtaining an attestation result: it is empty")
	case r.Expires.IsZero():
		return Result{}, errors.New("obtaining an attestation result: it does not say when it expires")
	case time.Until(r.Expires) < p.cfg.Margin:
		return Result{}, fmt.Errorf("obtaining an attestation result: it expires at %s, which is too soon to be of use",
			r.Expires.UTC().Format(time.RFC3339))
	}
	r.EAR = bytes.Clone(r.EAR)
	return r, nil
}

// renewal is when to renew what is valid for life: with a third of it left for
// a verifier that is away for a while, and not at the same time everywhere.
func renewal(life time.Duration) time.Duration { return spread(life*2/3, 0.2) }

// spread shortens d by a random part of at most fraction.
func spread(d time.Duration, fraction float64) time.Duration {
	return d - time.Duration(rand.Float64()*fraction*float64(d))
}
