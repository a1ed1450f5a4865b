// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/internal/rptest"
)

// discovering makes a client that asks the scripted verifier for its key.
func discovering(t *testing.T, v *rptest.Verifier) *rp.Veraison {
	t.Helper()
	cfg, keys := rp.Config{Timeout: 5 * time.Second}, rp.Discover()
	if v.Certificate() != nil {
		cfg.TLS = trusting(v)
	} else {
		cfg.InsecureHTTP, keys = true, rp.InsecureDiscoverOverHTTP()
	}
	c, err := rp.NewVeraison(v.URL, keys, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c
}

func TestDiscovery(t *testing.T) {
	for _, secure := range []bool{true, false} {
		v := rptest.NewVerifier(t, secure)
		c := discovering(t, v)
		for range 3 {
			_, err := open(t, c, nil).Appraise(t.Context(), evidence)
			require.NoError(t, err)
		}
		assert.EqualValues(t, 1, v.WellKnown.Load(), "not cached")
		keys, err := c.Keys().Keys(t.Context())
		require.NoError(t, err)
		require.Len(t, keys, 1)
		assert.True(t, v.Key.PublicKey.Equal(keys[0].Public()))
	}
}

// A key that is new is found; a key that nobody knows costs the verifier
// nothing more.
func TestDiscoveryRefreshes(t *testing.T) {
	v := rptest.NewVerifier(t, true)
	c := discovering(t, v)
	old := v.Key
	_, err := open(t, c, nil).Appraise(t.Context(), evidence)
	require.NoError(t, err)

	// Too soon after the first look.
	next := rptest.Key(t)
	v.Key = next
	_, err = open(t, c, nil).Appraise(t.Context(), evidence)
	var bad *ear.Error
	require.ErrorAs(t, err, &bad)
	assert.Equal(t, ear.Signature, bad.Check)
	assert.EqualValues(t, 1, v.WellKnown.Load())

	rp.Age(c, time.Minute)
	_, err = open(t, c, nil).Appraise(t.Context(), evidence)
	require.NoError(t, err)
	assert.EqualValues(t, 2, v.WellKnown.Load())

	// The old one is not good any more, and a flood of bad results is no
	// flood of look-ups.
	stranger := rptest.Key(t)
	for _, key := range []any{old, stranger, stranger, stranger} {
		v.OnEvidence = func(w http.ResponseWriter, r *http.Request) {
			if key == any(old) {
				v.Complete(w, rptest.Sign(t, old, rptest.Claims(v.Nonce(r))))
				return
			}
			v.Complete(w, rptest.Sign(t, stranger, rptest.Claims(v.Nonce(r))))
		}
		r, err := open(t, c, nil).Appraise(t.Context(), evidence)
		require.ErrorAs(t, err, &bad)
		require.Nil(t, r)
	}
	assert.EqualValues(t, 2, v.WellKnown.Load())
}

// Keys are used while the verifier is away, for a day.
func TestDiscoveryOutage(t *testing.T) {
	v := rptest.NewVerifier(t, true)
	var mu sync.Mutex
	down := false
	v.OnWellKnown = func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if down {
			rptest.Text(404, "")(w, r)
			return
		}
		v.ServeKey(w, r)
	}
	c := discovering(t, v)
	_, err := c.Keys().Keys(t.Context())
	require.NoError(t, err)
	mu.Lock()
	down = true
	mu.Unlock()
	rp.Age(c, 2*time.Hour)
	_, err = c.Keys().Keys(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 2, v.WellKnown.Load())
	_, err = c.Keys().Keys(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 2, v.WellKnown.Load(), "asked again at once")
	rp.Age(c, 23*time.Hour)
	_, err = c.Keys().Keys(t.Context())
	var problem *rp.ProblemError
	require.ErrorAs(t, err, &problem)
}

func TestDiscoveryFails(t *testing.T) {
	private := func(v *rptest.Verifier) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			rptest.JSON(w, 200, object{"ear-verification-key": jose.JSONWebKey{Key: v.Key}})
		}
	}
	text := func(status int, s string) func(*rptest.Verifier) http.HandlerFunc {
		return func(*rptest.Verifier) http.HandlerFunc { return rptest.Text(status, s) }
	}
	for name, c := range map[string]struct {
		answer func(*rptest.Verifier) http.HandlerFunc
		want   string
	}{
		"not there": {text(404, ""), "discovering verifier keys: HTTP 404"},
		"not JSON":  {text(200, "<html>"), "discovering verifier keys: malformed document"},
		"no key":    {text(200, "{}"), "the document has no ear-verification-key"},
		"null":      {text(200, `{"ear-verification-key":null}`), "discovering verifier keys: "},
		"symmetric": {text(200, `{"ear-verification-key":{"kty":"oct","k":"AAAA"}}`), "not a public key"},
		"private":   {private, "not a public key"},
		"too large": {text(200, strings.Repeat(" ", 2<<20)), "the answer has "},
		"redirected": {func(*rptest.Verifier) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://evil.example", http.StatusFound)
			}
		}, "which is not followed"},
	} {
		t.Run(name, func(t *testing.T) {
			v := rptest.NewVerifier(t, true)
			v.OnWellKnown = c.answer(v)
			client := discovering(t, v)
			r, err := open(t, client, nil).Appraise(t.Context(), evidence)
			require.Nil(t, r)
			require.ErrorContains(t, err, c.want)
		})
	}
	t.Run("not trusted", func(t *testing.T) {
		v := rptest.NewVerifier(t, true)
		c, err := rp.NewVeraison(v.URL, rp.Discover(), rp.Config{})
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Keys().Keys(t.Context())
		var bad *tls.CertificateVerificationError
		require.ErrorAs(t, err, &bad)
	})
	t.Run("slow", func(t *testing.T) {
		v := rptest.NewVerifier(t, true)
		release := make(chan struct{})
		v.OnWellKnown = func(w http.ResponseWriter, r *http.Request) {
			<-release
			v.ServeKey(w, r)
		}
		c := discovering(t, v)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := c.Keys().Keys(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		// Who came after it gets the keys of the same look.
		close(release)
		_, err = c.Keys().Keys(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 1, v.WellKnown.Load())
	})
	t.Run("unbound", func(t *testing.T) {
		_, err := ear.Verify(t.Context(), "x.y.z", rp.Discover(), ear.Expectations{MaxAge: time.Minute})
		require.Error(t, err)
		_, err = rp.Discover().Refresh(t.Context())
		require.Error(t, err)
	})
}

// Nor does a verifier that hangs hold up what can go on.
func TestDiscoveryHangs(t *testing.T) {
	v := rptest.NewVerifier(t, true)
	release := make(chan struct{})
	v.OnWellKnown = func(w http.ResponseWriter, r *http.Request) {
		if v.WellKnown.Load() > 1 {
			<-release
		}
		v.ServeKey(w, r)
	}
	c := discovering(t, v)
	defer close(release)
	_, err := c.Keys().Keys(t.Context())
	require.NoError(t, err)
	rp.Age(c, 2*time.Hour)
	started := time.Now()
	_, err = c.Keys().Keys(t.Context())
	require.NoError(t, err)
	assert.Less(t, time.Since(started), 4*time.Second)
	assert.EqualValues(t, 2, v.WellKnown.Load())
}

// A passport is verified with the verifier's keys, without a session.
func TestPassport(t *testing.T) {
	v := rptest.NewVerifier(t, true)
	c := discovering(t, v)
	passport := rptest.Sign(t, v.Key, rptest.Claims([]byte("somebody else's")))
	r, err := ear.Verify(t.Context(), passport, c.Keys(), ear.Expectations{MaxAge: time.Minute})
	require.NoError(t, err)
	assert.Equal(t, []byte("somebody else's"), r.Nonce)
}
