// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package passport_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/passport"
)

var _ passport.Attester = (*attester.Attester)(nil)

// machine is an attester without a TPM.
type machine struct{ key *ecdsa.PrivateKey }

func newMachine(t *testing.T) *machine {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &machine{key}
}

func (*machine) Attest(_ context.Context, nonce []byte) ([]byte, error) {
	return append([]byte("evidence for "), nonce...), nil
}
func (m *machine) Signer() crypto.Signer { return m.key }

// verifier answers as it is told.
type verifier struct {
	life  time.Duration
	asked atomic.Int64
	mu    sync.Mutex
	err   error
	times []time.Time
}

func (v *verifier) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
}

func (v *verifier) appraise(ctx context.Context, attest func(context.Context, []byte) ([]byte, error)) (passport.Result, error) {
	n := v.asked.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.times = append(v.times, time.Now())
	if v.err != nil {
		return passport.Result{}, v.err
	}
	evidence, err := attest(ctx, []byte("nonce"))
	if err != nil {
		return passport.Result{}, err
	}
	return passport.Result{EAR: fmt.Appendf(nil, "EAR %d over %s", n, evidence), Expires: time.Now().Add(v.life)}, nil
}

func start(t *testing.T, cfg passport.Config) *passport.Passport {
	t.Helper()
	if cfg.Attester == nil {
		cfg.Attester = newMachine(t)
	}
	p, err := passport.New(cfg)
	require.NoError(t, err)
	return p
}

func TestFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &verifier{life: 10 * time.Minute}
		m := newMachine(t)
		p := start(t, passport.Config{Appraise: v.appraise, Attester: m})
		d, err := p.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "EAR 1 over evidence for nonce", string(d.EAR))
		assert.Same(t, m.key, d.Signer)
		assert.Equal(t, 10*time.Minute, time.Until(d.Expires))
		d.EAR[0] = 'X' // it is a copy

		// A day without a moment in which there is none.
		for range 24 * 60 {
			time.Sleep(time.Minute)
			d, err = p.Current()
			require.NoError(t, err)
			require.Equal(t, byte('E'), d.EAR[0])
			require.Greater(t, time.Until(d.Expires), 3*time.Minute)
		}
		asked := v.asked.Load()
		assert.Greater(t, asked, int64(24*60/10))
		assert.Less(t, asked, int64(24*60/5))
		gaps := map[time.Duration]bool{}
		for i := range v.times[1:] {
			gaps[v.times[i+1].Sub(v.times[i])] = true
		}
		assert.Greater(t, len(gaps), len(v.times)/2, "there is no jitter")
		require.NoError(t, p.Close())
		require.NoError(t, p.Close(), "a second time")
		_, err = p.Current()
		require.ErrorIs(t, err, passport.ErrClosed)
		_, err = p.Wait(t.Context())
		require.ErrorIs(t, err, passport.ErrClosed)
	})
}

// TestVerifierAway: what there is stays good until it expires; then the error
// says why there is none; and it recovers.
func TestVerifierAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &verifier{life: 10 * time.Minute}
		var failures atomic.Int64
		p := start(t, passport.Config{Appraise: v.appraise, Failed: func(error) { failures.Add(1) }})
		defer p.Close()
		d, err := p.Wait(t.Context())
		require.NoError(t, err)
		away := errors.New("the verifier is away")
		v.fail(away)
		time.Sleep(time.Until(d.Expires) - 11*time.Second)
		_, err = p.Current()
		require.NoError(t, err)
		time.Sleep(2 * time.Second) // within the margin
		_, err = p.Current()
		var none *passport.NoneError
		require.ErrorAs(t, err, &none)
		require.Equal(t, d.Expires, none.Expired)
		require.ErrorIs(t, err, away)
		require.ErrorContains(t, err, "the attestation result expired at ")

		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		_, err = p.Wait(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, away)
		require.ErrorAs(t, err, &none)
		require.Equal(t, 3*time.Second, time.Since(begin))

		// An hour of failures is no storm: about one a minute.
		asked := v.asked.Load()
		time.Sleep(time.Hour)
		require.Less(t, v.asked.Load()-asked, int64(125))
		require.Greater(t, v.asked.Load()-asked, int64(55))
		require.Equal(t, v.asked.Load()-1, failures.Load())

		v.fail(nil)
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = p.Wait(ctx)
		require.NoError(t, err)
	})
}

// TestNotYet: before the first there is an error, not an empty document.
func TestNotYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, passport.Config{Appraise: func(ctx context.Context, _ func(context.Context, []byte) ([]byte, error)) (passport.Result, error) {
			<-ctx.Done() // a verifier that never answers
			return passport.Result{}, ctx.Err()
		}})
		d, err := p.Current()
		require.EqualError(t, err, "no attestation result obtained yet")
		require.Zero(t, d)
		time.Sleep(31 * time.Second) // Timeout
		_, err = p.Current()
		require.ErrorIs(t, err, context.DeadlineExceeded)

		waiting := make(chan error, 1)
		go func() {
			_, err := p.Wait(context.Background())
			waiting <- err
		}()
		synctest.Wait()
		begin := time.Now()
		require.NoError(t, p.Close(), "although an attempt is under way")
		require.ErrorIs(t, <-waiting, passport.ErrClosed)
		require.Less(t, time.Since(begin), time.Second)
	})
}

// TestUselessResults: what could not be handed out is a failure.
func TestUselessResults(t *testing.T) {
	for want, r := range map[string]func() passport.Result{
		"it is empty":                     func() passport.Result { return passport.Result{Expires: time.Now().Add(time.Hour)} },
		"it does not say when it expires": func() passport.Result { return passport.Result{EAR: []byte("EAR")} },
		"which is too soon to be of use": func() passport.Result {
			return passport.Result{EAR: []byte("EAR"), Expires: time.Now().Add(time.Second)}
		},
		"expires at 1970-01-01T00:00:00Z, ": func() passport.Result { return passport.Result{EAR: []byte("EAR"), Expires: time.Unix(0, 0)} },
	} {
		synctest.Test(t, func(t *testing.T) {
			p := start(t, passport.Config{Appraise: func(context.Context, func(context.Context, []byte) ([]byte, error)) (passport.Result, error) {
				return r(), nil
			}})
			defer p.Close()
			synctest.Wait()
			_, err := p.Current()
			require.ErrorContains(t, err, want)
		})
	}
}

// TestShortLife: a verifier whose results live a moment is not asked without
// end.
func TestShortLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &verifier{life: 10*time.Second + time.Millisecond}
		p := start(t, passport.Config{Appraise: v.appraise})
		defer p.Close()
		time.Sleep(time.Minute)
		require.LessOrEqual(t, v.asked.Load(), int64(61))
	})
}

func TestConfigRefused(t *testing.T) {
	v := &verifier{life: time.Hour}
	for _, cfg := range []passport.Config{
		{},
		{Appraise: v.appraise},
		{Attester: newMachine(t)},
		{Appraise: v.appraise, Attester: newMachine(t), Timeout: -1},
	} {
		p, err := passport.New(cfg)
		require.Error(t, err)
		require.Nil(t, p)
	}
}
