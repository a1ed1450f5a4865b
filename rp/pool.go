// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/veraison/attested-tls/internal/apihttp"
)

// PoolConfig has what a Pool can be told. Its zero value is fit for use.
type PoolConfig struct {
	// Size is how many sessions are kept ready; zero means 16.
	Size int
	// MinLifetime is what a session must have left when it is handed out, for
	// the peer to make its evidence in; zero means 30 seconds.
	MinLifetime time.Duration
	// Concurrency is how many sessions are opened at a time; zero means 4.
	Concurrency int
	// Trace is told what happens in the background.
	Trace *Trace
	// Logger is told, at level warn, when sessions cannot be opened, and at
	// level info when they can again; nil is silence.
	Logger *slog.Logger
}

// Pool is a Verifier that keeps sessions ready, so that a nonce costs no round
// trip. A session is kept below its expiry, and replaced in the background when
// it was handed out or gets too old.
//
// When the pool is empty, because the verifier is slower than the demand or was
// not reached, NewSession opens a session as it would without a pool: it takes
// as long, and fails with the verifier's own error, within the caller's
// deadline. A pool never makes a caller wait for another.
//
// When sessions cannot be opened the pool tries again and again, one at a time
// and at intervals that grow to 5 seconds; also as soon as a caller has
// succeeded. When the verifier is back after it could not be reached, or does
// not know a session any more, the sessions from before are given up: it may
// have forgotten them all. Evidence made for one of those is lost, with a
// *ProblemError of status 404; the next session is a new one.
//
// The sessions are for the verifier's own nonces. One for a nonce of the
// caller's choice is opened when it is asked for.
type Pool struct {
	verifier Verifier
	cfg      PoolConfig
	stop     context.CancelFunc
	wake     chan struct{}
	working  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	ready   []*pooled // the oldest first
	opening int
	// failures in a row, and when the next try is due.
	failures int
	retryAt  time.Time
	// outage: the verifier could not be reached since it was last.
	outage bool
}

var _ Verifier = (*Pool)(nil)

const (
	longestPoolWait = 5 * time.Second
	// How long a session is kept whose verifier does not tell its expiry.
	assumedLifetime = time.Minute
)

// NewPool makes a pool and begins to fill it. It must be closed.
func NewPool(v Verifier, cfg PoolConfig) (*Pool, error) {
	switch {
	case v == nil:
		return nil, errors.New("a pool needs a verifier")
	case cfg.Size < 0 || cfg.MinLifetime < 0 || cfg.Concurrency < 0:
		return nil, errors.New("a pool's numbers cannot be negative")
	}
	if cfg.Size == 0 {
		cfg.Size = 16
	}
	if cfg.MinLifetime == 0 {
		cfg.MinLifetime = 30 * time.Second
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 4
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(WithTrace(context.Background(), cfg.Trace))
	p := &Pool{verifier: v, cfg: cfg, stop: stop, wake: make(chan struct{}, 1)}
	p.working.Go(func() { p.run(ctx) })
	return p, nil
}

// NewSession hands out a session that is ready, or opens one. See Verifier.
func (p *Pool) NewSession(ctx context.Context, nonce []byte) (Session, error) {
	s, left, err := p.take(nonce == nil)
	if err != nil {
		return nil, err
	}
	if nonce != nil {
		return p.verifier.NewSession(ctx, nonce)
	}
	observers := tracesOf(ctx)
	observers.poolTaken(s != nil, left)
	if s != nil {
		p.nudge()
		observers.sessionOpened(s, 0, nil)
		return s, nil
	}
	opened, err := p.verifier.NewSession(ctx, nil)
	p.mu.Lock()
	if err != nil {
		p.outage = p.outage || isOutage(err)
	} else {
		// Whatever has kept the pool from filling is over.
		p.retryAt = time.Time{}
	}
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	p.nudge()
	return &pooled{Session: opened, pool: p}, nil
}

// Close gives up the sessions that are ready and stops opening new ones. It
// returns when nothing goes on in the background. The verifier is not closed.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	p.working.Wait()
	p.mu.Lock()
	dropped := p.ready
	p.ready = nil
	p.mu.Unlock()
	return closeAll(dropped)
}

// take returns the oldest session that has enough time left, if there is one,
// and how many are ready after that.
func (p *Pool) take(want bool) (*pooled, int, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, 0, fmt.Errorf("the session pool: %w", ErrClosed)
	}
	stale := p.staleLocked()
	var s *pooled
	if want && len(p.ready) > 0 {
		s, p.ready = p.ready[0], p.ready[1:]
	}
	left := len(p.ready)
	p.mu.Unlock()
	_ = closeAll(stale) // a session's Close has nothing to tell
	return s, left, nil
}

// staleLocked takes out the sessions that have too little time left.
func (p *Pool) staleLocked() (stale []*pooled) {
	due := time.Now().Add(p.cfg.MinLifetime)
	for len(p.ready) > 0 && !p.ready[0].until.After(due) {
		stale = append(stale, p.ready[0])
		p.ready = p.ready[1:]
	}
	return stale
}

// nudge has the pool look at itself.
func (p *Pool) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run keeps the pool filled until the context ends.
func (p *Pool) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		timer.Reset(p.tend(ctx))
	}
}

// tend drops what is too old, begins to open what is missing, and returns when
// to look again.
func (p *Pool) tend(ctx context.Context) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = closeAll(p.staleLocked())
	now := time.Now()
	if !p.retryAt.After(now) {
		at := p.cfg.Concurrency
		if p.failures > 0 {
			at = 1 // one is enough to find out
		}
		for p.opening < at && len(p.ready)+p.opening < p.cfg.Size && !p.closed {
			p.opening++
			p.working.Go(func() { p.open(ctx) })
		}
	}
	next := time.Minute
	if len(p.ready) > 0 {
		next = min(next, p.ready[0].until.Sub(now)-p.cfg.MinLifetime)
	}
	if p.retryAt.After(now) {
		next = min(next, p.retryAt.Sub(now))
	}
	return max(next, time.Millisecond)
}

// open opens one session for the pool.
func (p *Pool) open(ctx context.Context) {
	s, err := p.verifier.NewSession(ctx, nil)
	p.mu.Lock()
	p.opening--
	var fresh *pooled
	if err == nil {
		fresh = &pooled{Session: s, pool: p, until: s.Expiry()}
		if fresh.until.IsZero() {
			fresh.until = time.Now().Add(assumedLifetime + p.cfg.MinLifetime)
		}
		if left := time.Until(fresh.until); left <= p.cfg.MinLifetime {
			err = fmt.Errorf("sessions live for %s, too short for a pool that hands them out with %s left", left.Round(time.Second), p.cfg.MinLifetime)
		}
	}
	var drop []*pooled
	switch {
	case err != nil:
		if fresh != nil {
			drop = append(drop, fresh)
		}
		if p.failures == 0 && ctx.Err() == nil {
			p.cfg.Logger.Warn("no sessions can be opened ahead", "error", err)
		}
		p.failures++
		p.outage = p.outage || isOutage(err)
		p.retryAt = time.Now().Add(apihttp.Jitter(min(apihttp.FirstWait<<min(p.failures-1, 10), longestPoolWait)))
	default:
		if p.failures > 0 {
			p.cfg.Logger.Info("sessions can be opened again", "failures", p.failures)
		}
		if p.outage {
			drop, p.ready = p.ready, nil
		}
		p.failures, p.outage, p.retryAt = 0, false, time.Time{}
		p.insertLocked(fresh)
	}
	ready := len(p.ready)
	p.mu.Unlock()
	_ = closeAll(drop)
	if ctx.Err() == nil {
		tracesOf(ctx).poolRefilled(ready, err)
		p.nudge()
	}
}

// insertLocked keeps the sessions in the order of their expiry.
func (p *Pool) insertLocked(s *pooled) {
	i := len(p.ready)
	for i > 0 && p.ready[i-1].until.After(s.until) {
		i--
	}
	p.ready = append(p.ready, nil)
	copy(p.ready[i+1:], p.ready[i:])
	p.ready[i] = s
}

// learn draws conclusions from what became of a session.
func (p *Pool) learn(err error) {
	var problem *ProblemError
	p.mu.Lock()
	var drop []*pooled
	switch {
	case errors.As(err, &problem) && problem.Status == http.StatusNotFound:
		drop, p.ready = p.ready, nil
	case isOutage(err):
		p.outage = true
	}
	p.mu.Unlock()
	_ = closeAll(drop)
	if drop != nil {
		p.nudge()
	}
}

// isOutage tells whether the verifier could not be reached.
func isOutage(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func closeAll(sessions []*pooled) error {
	var err error
	for _, s := range sessions {
		err = errors.Join(err, s.Close())
	}
	return err
}

// pooled is a session of a pool.
type pooled struct {
	Session
	pool  *Pool
	until time.Time
}

func (s *pooled) Appraise(ctx context.Context, e Evidence) (*AttestationResult, error) {
	r, err := s.Session.Appraise(ctx, e)
	if err != nil {
		s.pool.learn(err)
	}
	return r, err
}
