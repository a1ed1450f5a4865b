// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/internal/rptest"
)

func TestTrace(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf(format, args...))
	}
	trace := &rp.Trace{
		SessionOpened: func(s rp.Session, took time.Duration, err error) { note("opened %d %v", len(s.Nonce()), err) },
		RequestDone: func(operation string, attempt, status int, took time.Duration, err error) {
			note("%s %d: %d %v", operation, attempt, status, err)
		},
		Waiting:     func(operation string, wait time.Duration, reason error) { note("%s waits: %v", operation, reason) },
		KeysFetched: func(keys int, took time.Duration, err error) { note("keys %d %v", keys, err) },
		Appraised:   func(r *rp.AttestationResult, took time.Duration, err error) { note("appraised %v %v", r.Status, err) },
	}
	v := rptest.NewVerifier(t, true)
	v.OnNew = func(w http.ResponseWriter, r *http.Request) {
		if v.New.Load() == 1 {
			w.WriteHeader(503)
			return
		}
		v.NewSession(w, r)
	}
	v.OnEvidence = func(w http.ResponseWriter, _ *http.Request) { rptest.JSON(w, 202, object{"status": "processing"}) }
	c := discovering(t, v)
	once := 0
	ctx := rp.WithTrace(rp.WithTrace(t.Context(), trace), &rp.Trace{SessionOpened: func(rp.Session, time.Duration, error) { once++ }})
	require.Equal(t, ctx, rp.WithTrace(ctx, nil))
	s, err := c.NewSession(ctx, nil)
	require.NoError(t, err)
	eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return strings.Contains(strings.Join(seen, "|"), "keys 1") })
	_, err = s.Appraise(ctx, evidence)
	require.NoError(t, err)
	assert.Equal(t, 1, once, "one trace keeps another from being told")
	mu.Lock()
	defer mu.Unlock()
	var rest []string
	for _, line := range seen {
		if line != "keys 1 <nil>" { // whenever
			rest = append(rest, line)
		}
	}
	assert.Equal(t, []string{
		"opening session 1: 503 <nil>",
		"opening session waits: opening session: HTTP 503: Service Unavailable",
		"opening session 2: 201 <nil>",
		"opened 32 <nil>",
		"submitting evidence 1: 202 <nil>",
		"waiting for the result waits: <nil>",
		"waiting for the result 1: 200 <nil>",
		"appraised affirming <nil>",
	}, rest)
}

// What is logged says what went wrong, and gives nothing away.
func TestLog(t *testing.T) {
	var text safeBuffer
	v := rptest.NewVerifier(t, true)
	v.OnNew = func(w http.ResponseWriter, r *http.Request) {
		if v.New.Load() == 1 {
			w.WriteHeader(503)
			return
		}
		v.NewSession(w, r)
	}
	c := client(t, v, func(cfg *rp.Config) {
		cfg.Username, cfg.Password = "somebody", "secret"
		cfg.Logger = slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	nonce := []byte("0123456789")
	s := open(t, c, nonce)
	r, err := s.Appraise(t.Context(), rp.Evidence{MediaType: evidence.MediaType, Data: []byte("what is in the TPM")})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	log := text.String()
	assert.Contains(t, log, `level=WARN msg="the verifier failed, asking again" operation="opening session" attempt=1`)
	assert.Contains(t, log, `level=DEBUG msg="asked the verifier" operation="submitting evidence" attempt=1 status=200`)
	assert.Contains(t, log, `operation="deleting session"`)
	for _, secret := range []string{"secret", "somebody", string(nonce), "MDEyMzQ1Njc4OQ", "what is in", r.Token} {
		assert.NotContains(t, log, secret)
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
