// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/internal/rptest"
)

// watched is a pool and what it tells.
type watched struct {
	*rp.Pool
	ready        atomic.Int32
	hits, misses atomic.Int32
	trace        *rp.Trace
}

func pool(t testing.TB, v rp.Verifier, cfg rp.PoolConfig) *watched {
	t.Helper()
	w := new(watched)
	w.trace = &rp.Trace{PoolTaken: func(hit bool, left int) {
		w.ready.Store(int32(left))
		if hit {
			w.hits.Add(1)
		} else {
			w.misses.Add(1)
		}
	}}
	cfg.Trace = &rp.Trace{PoolRefilled: func(ready int, err error) { w.ready.Store(int32(ready)) }}
	var err error
	w.Pool, err = rp.NewPool(v, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, w.Close()) })
	return w
}

func (w *watched) open(t testing.TB) rp.Session {
	t.Helper()
	s, err := w.NewSession(rp.WithTrace(t.Context(), w.trace), nil)
	require.NoError(t, err)
	return s
}

func (w *watched) full(t testing.TB, n int) {
	t.Helper()
	eventually(t, func() bool { return int(w.ready.Load()) == n })
}

func TestPool(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	p := pool(t, client(t, v), rp.PoolConfig{Size: 3})
	p.full(t, 3)
	assert.EqualValues(t, 3, v.New.Load())
	nonces := map[string]bool{}
	for range 10 {
		s := p.open(t)
		nonces[string(s.Nonce())] = true
		r, err := s.Appraise(t.Context(), evidence)
		require.NoError(t, err)
		assert.Equal(t, s.Nonce(), r.Nonce)
		p.full(t, 3)
	}
	assert.Len(t, nonces, 10, "a nonce was handed out twice")
	assert.EqualValues(t, 10, p.hits.Load())
	assert.EqualValues(t, 13, v.New.Load())

	// A nonce of the caller's own is no business of the pool's.
	s, err := p.NewSession(t.Context(), []byte("12345678"))
	require.NoError(t, err)
	assert.Equal(t, []byte("12345678"), s.Nonce())
	require.NoError(t, s.Close())

	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	_, err = p.NewSession(t.Context(), nil)
	require.ErrorIs(t, err, rp.ErrClosed)
	_, err = p.NewSession(t.Context(), []byte("12345678"))
	require.ErrorIs(t, err, rp.ErrClosed)
	eventually(t, func() bool { return v.Open() == 0 })
}

func TestPoolConfigRefused(t *testing.T) {
	_, err := rp.NewPool(nil, rp.PoolConfig{})
	require.Error(t, err)
	v := client(t, rptest.NewVerifier(t, false))
	for _, cfg := range []rp.PoolConfig{{Size: -1}, {MinLifetime: -1}, {Concurrency: -1}} {
		_, err := rp.NewPool(v, cfg)
		require.Error(t, err)
	}
}

// A slow verifier: who finds the pool empty waits for a session of his own, and
// for nobody else's.
func TestPoolSlowVerifier(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	slow := make(chan struct{})
	var held atomic.Int32
	v.OnNew = func(w http.ResponseWriter, r *http.Request) {
		if held.Add(1) <= 2 { // the pool's
			select {
			case <-slow:
			case <-r.Context().Done():
			}
		}
		v.NewSession(w, r)
	}
	p := pool(t, client(t, v), rp.PoolConfig{Size: 2, Concurrency: 2})
	eventually(t, func() bool { return held.Load() == 2 })
	s := p.open(t)
	require.NoError(t, s.Close())
	assert.EqualValues(t, 1, p.misses.Load())
	close(slow)
	p.full(t, 2)
}

// No more is opened at a time than is allowed.
func TestPoolConcurrency(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	var now, most atomic.Int32
	v.OnNew = func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		time.Sleep(5 * time.Millisecond)
		now.Add(-1)
		v.NewSession(w, r)
	}
	p := pool(t, client(t, v), rp.PoolConfig{Size: 20, Concurrency: 3})
	p.full(t, 20)
	assert.EqualValues(t, 20, v.New.Load())
	assert.LessOrEqual(t, most.Load(), int32(3))
}

// Sessions that get too old are replaced, also when nobody asks.
func TestPoolExpiry(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	v.OnNew = func(w http.ResponseWriter, r *http.Request) {
		nonce := make([]byte, 32)
		nonce[0] = byte(v.New.Load())
		w.Header()["Date"] = nil
		v.Session(w, "session/"+v.Remember(nonce), object{"nonce": base64.StdEncoding.EncodeToString(nonce), "expiry": time.Now().Add(400 * time.Millisecond)})
	}
	p := pool(t, client(t, v), rp.PoolConfig{Size: 2, MinLifetime: 200 * time.Millisecond})
	for range 20 {
		s := p.open(t)
		assert.Greater(t, time.Until(s.Expiry()), 150*time.Millisecond)
		require.NoError(t, s.Close())
		time.Sleep(50 * time.Millisecond)
	}
	opened := v.New.Load()
	time.Sleep(500 * time.Millisecond)
	assert.Greater(t, v.New.Load(), opened, "not replaced unasked")
	assert.Less(t, v.New.Load(), int32(100))
}

// Sessions that live too short for a pool do not make it spin.
func TestPoolSessionsTooShort(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	v.OnNew = func(w http.ResponseWriter, r *http.Request) {
		nonce := make([]byte, 32)
		v.Session(w, "session/"+v.Remember(nonce), object{"nonce": base64.StdEncoding.EncodeToString(nonce), "expiry": time.Now().Add(10 * time.Second)})
	}
	p := pool(t, client(t, v), rp.PoolConfig{Size: 2})
	require.NoError(t, p.open(t).Close()) // usable all the same
	time.Sleep(500 * time.Millisecond)
	assert.Less(t, v.New.Load(), int32(12))
	eventually(t, func() bool { return v.Open() == 0 })
}

// A verifier that does not tell when its sessions expire.
func TestPoolExpiryUnknown(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	v.OnNew = func(w http.ResponseWriter, r *http.Request) {
		nonce := make([]byte, 32)
		v.Session(w, "session/"+v.Remember(nonce), object{"nonce": base64.StdEncoding.EncodeToString(nonce), "expiry": nil})
	}
	p := pool(t, client(t, v), rp.PoolConfig{Size: 2})
	p.full(t, 2)
	s := p.open(t)
	assert.True(t, s.Expiry().IsZero())
	assert.EqualValues(t, 1, p.hits.Load())
	require.NoError(t, s.Close())
}

// The verifier was restarted and knows none of the sessions: one caller finds
// out, the others do not.
func TestPoolForgottenSessions(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	p := pool(t, client(t, v), rp.PoolConfig{Size: 4})
	p.full(t, 4)
	v.Forget()
	r, err := p.open(t).Appraise(t.Context(), evidence)
	require.Nil(t, r)
	var problem *rp.ProblemError
	require.ErrorAs(t, err, &problem)
	assert.Equal(t, http.StatusNotFound, problem.Status)
	for range 8 {
		_, err := p.open(t).Appraise(t.Context(), evidence)
		require.NoError(t, err)
	}
	p.full(t, 4)
}

// Bad evidence is no reason to give sessions up.
func TestPoolKeepsSessions(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	p := pool(t, client(t, v), rp.PoolConfig{Size: 4})
	p.full(t, 4)
	v.OnEvidence = rptest.Text(415, "")
	_, err := p.open(t).Appraise(t.Context(), evidence)
	require.Error(t, err)
	p.full(t, 4)
	assert.EqualValues(t, 5, v.New.Load())
}

// relay is an address that stays while what is behind it goes and comes back.
type relay struct {
	net.Listener
	mu     sync.Mutex
	target string // empty: nobody there
	conns  map[net.Conn]struct{}
	done   sync.WaitGroup
}

func newRelay(t testing.TB, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{Listener: l, target: target, conns: map[net.Conn]struct{}{}}
	r.done.Go(r.serve)
	t.Cleanup(func() {
		l.Close()
		r.point("")
		r.done.Wait()
	})
	return r
}

func (r *relay) serve() {
	for {
		in, err := r.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		target := r.target
		var out net.Conn
		if target != "" {
			out, _ = net.Dial("tcp", target)
		}
		if out == nil {
			in.(*net.TCPConn).SetLinger(0)
			in.Close()
			r.mu.Unlock()
			continue
		}
		r.conns[in], r.conns[out] = struct{}{}, struct{}{}
		r.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			r.done.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				pair[0].Close()
				pair[1].Close()
			})
		}
	}
}

// point sends new connections elsewhere, and breaks those that there are.
func (r *relay) point(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
	for c := range r.conns {
		c.Close()
	}
	clear(r.conns)
}

// A real Veraison is stopped in the middle of things and started again.
func TestPoolOutlivesVeraison(t *testing.T) {
	d := rptest.Deploy(t)
	key, err := ear.NewKey(d.PublicKey())
	require.NoError(t, err)
	link := newRelay(t, d.VerificationURL()[len("http://"):])
	c, err := rp.NewVeraison("http://"+link.Addr().String(), ear.Pin(key), rp.Config{InsecureHTTP: true})
	require.NoError(t, err)
	defer c.Close()
	p := pool(t, c, rp.PoolConfig{Size: 4})
	p.full(t, 4)

	const deadline = time.Second
	appraise := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		started := time.Now()
		defer func() { assert.Less(t, time.Since(started), deadline+time.Second) }()
		s, err := p.NewSession(ctx, nil)
		if err != nil {
			return err
		}
		defer s.Close()
		r, err := s.Appraise(ctx, evidence) // no evidence at all: a result that says so
		if err == nil && r.Status != ear.TierContraindicated {
			err = errors.New("not a result")
		}
		return err
	}
	// Callers go on the whole time.
	var good, failed atomic.Int32
	stop := make(chan struct{})
	var callers sync.WaitGroup
	defer callers.Wait()
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				if err := appraise(); err != nil {
					failed.Add(1)
				} else {
					good.Add(1)
				}
			}
		})
	}
	eventually(t, func() bool { return good.Load() > 20 })

	link.point("") // the verifier is killed
	require.NoError(t, d.Stop())
	was := failed.Load()
	eventually(t, func() bool { return failed.Load() > was+4 })
	err = appraise()
	require.Error(t, err)
	t.Log("while it is down:", err)

	require.NoError(t, d.Restart(t.Context(), "")) // and started again
	link.point(d.VerificationURL()[len("http://"):])
	wasGood := good.Load()
	eventually(t, func() bool { return good.Load() > wasGood+20 })
	close(stop)
	callers.Wait()
	p.full(t, 4)
	for range 8 {
		require.NoError(t, appraise())
	}
}

// An outage that only the pool has seen: the sessions from before are not
// handed out any more.
func TestPoolOutage(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	link := newRelay(t, v.Listener.Addr().String())
	c, err := rp.NewVeraison("http://"+link.Addr().String(), ear.Pin(rptest.Public(t, v.Key)), rp.Config{InsecureHTTP: true, Timeout: 300 * time.Millisecond})
	require.NoError(t, err)
	defer c.Close()
	p := pool(t, c, rp.PoolConfig{Size: 4})
	p.full(t, 4)
	v.Forget()
	link.point("")
	s := p.open(t) // one is handed out, another one is looked for
	require.NoError(t, s.Close())
	time.Sleep(600 * time.Millisecond)
	link.point(v.Listener.Addr().String())
	p.full(t, 4)
	eventually(t, func() bool { return v.Open() == 4 })
	for range 4 {
		_, err := p.open(t).Appraise(t.Context(), evidence)
		require.NoError(t, err)
	}
}

// What is cancelled in the middle leaves nothing.
func TestPoolClosedWhileOpening(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	v.OnNew = func(w http.ResponseWriter, r *http.Request) {
		// The server notices that the client has gone when it reads.
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	p, err := rp.NewPool(client(t, v), rp.PoolConfig{})
	require.NoError(t, err)
	eventually(t, func() bool { return v.New.Load() > 0 })
	started := time.Now()
	require.NoError(t, p.Close())
	assert.Less(t, time.Since(started), 2*time.Second)
}
