// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/veraison/attested-tls/provisioning"
)

var corim = []byte("endorsements")

func TestSubmit(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		switch user, password, ok := r.BasicAuth(); {
		case err != nil || string(body) != string(corim):
			w.WriteHeader(http.StatusTeapot)
		case r.Method != http.MethodPost || r.URL.Path != "/endorsement-provisioning/v1/submit",
			r.Header.Get("Content-Type") != mediaTypeV1, r.Header.Get("Accept") != sessionType,
			!strings.HasPrefix(r.Header.Get("User-Agent"), "test "):
			w.WriteHeader(http.StatusBadRequest)
		case !ok || user != "operator" || password != "secret":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			reply(http.StatusOK, success)(w, r)
		}
	})
	c := s.client(t, func(cfg *provisioning.Config) {
		cfg.Username, cfg.Password, cfg.UserAgent = "operator", "secret", "test"
	})
	receipt, err := c.Submit(t.Context(), mediaTypeV1, corim)
	require.NoError(t, err)
	require.Equal(t, 1, receipt.Attempts)
	require.False(t, receipt.Asynchronous)
	require.EqualValues(t, 1, s.count.Load())
}

// What the verifier or a service turns away is an error that says why, is asked
// once, and is no doubt.
func TestRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"200 failed":                {reply(200, `{"status":"failed","failure-reason":"no  such\nprofile"}`), "the verifier refuses the endorsements: no such profile"},
		"200 failed without reason": {reply(200, `{"status":"failed"}`), "gives no reason"},
		"verifier not there": {reply(200, `{"status":"failed","failure-reason":"rpc error: code = Unavailable desc = transport: Error while dialing: refused"}`),
			"Error while dialing"},
		"bad request":                {problem(400, "empty body"), "submitting endorsements: HTTP 400: Bad Request: empty body"},
		"unauthorized":               {problem(401, "wrong username or password"), "HTTP 401: Unauthorized: wrong username or password"},
		"forbidden":                  {reply(403, "go away"), "HTTP 403: Forbidden: go away"},
		"media type":                 {problem(415, "no active plugin found for x/y"), "HTTP 415: Unsupported Media Type: no active plugin found for x/y"},
		"too large":                  {reply(413, ""), "HTTP 413"},
		"redirect":                   {reply(307, "", "Location", "https://evil.example/"), "redirected (HTTP 307)"},
		"retry far away":             {unavailable("3600"), "HTTP 503"},
		"not a provisioning service": {reply(404, "404 page not found"), "HTTP 404: Not Found: 404 page not found"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.answer)
			receipt, err := s.client(t, nil).Submit(t.Context(), mediaTypeV1, corim)
			require.ErrorContains(t, err, tc.want)
			require.NotErrorIs(t, err, provisioning.ErrUnknownOutcome)
			require.Nil(t, receipt)
			require.EqualValues(t, 1, s.count.Load())
		})
	}
}

// Where nobody knows, the error says so, and nothing is sent again.
func TestUnknownOutcome(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"connection closed":     {hangUp, "EOF"},
		"gateway lost it":       {reply(502, "bad gateway"), "HTTP 502"},
		"gateway gave up":       {reply(504, "", "Retry-After", "0"), "HTTP 504"},
		"gateway lost service":  {reply(503, "upstream connect error or disconnect/reset before headers", "Retry-After", "0"), "HTTP 503"},
		"503 without document":  {reply(503, "", "Content-Type", "application/problem+json"), "HTTP 503"},
		"503 of another type":   {reply(503, `{"status":503}`, "Content-Type", "application/json"), "HTTP 503"},
		"503 of another status": {reply(503, `{"status":502}`, "Content-Type", "application/problem+json"), "HTTP 503"},
		"store broke": {reply(200, `{"status":"failed","failure-reason":"submit endorsement returned error: submit endorsements failed: `+
			`store operation failed for reference values: failed to connect: error while dialing: refused"}`), "store operation failed for reference values"},
		"service broke":        {reply(500, ""), "HTTP 500"},
		"verifier went away":   {reply(200, `{"status":"failed","failure-reason":"rpc error: code = Unavailable desc = error reading from server: EOF"}`), "code = Unavailable"},
		"no JSON":              {reply(200, "<html>"), "malformed session"},
		"no outcome":           {reply(200, processing), "HTTP 200 without an outcome"},
		"status missing":       {reply(200, "{}"), `unknown session status ""`},
		"status unknown":       {reply(200, `{"status":"stored"}`), `unknown session status "stored"`},
		"status in capitals":   {reply(200, `{"status":"SUCCESS"}`), `unknown session status "SUCCESS"`},
		"answer too long":      {reply(200, `{"x":"`+strings.Repeat("x", 1<<20)+`"}`), "more than 1048576 bytes"},
		"answer cut short":     {reply(200, success, "Content-Length", "1000"), "unexpected EOF"},
		"empty":                {reply(204, ""), "HTTP 204"},
		"no Location":          {reply(201, processing), "no Location"},
		"Location elsewhere":   {reply(201, processing, "Location", "https://evil.example/session/1"), "not of the provisioning service's origin"},
		"Location without TLS": {reply(201, processing, "Location", "http://127.0.0.1/session/1"), "not of the provisioning service's origin"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.answer)
			receipt, err := s.client(t, nil).Submit(t.Context(), mediaTypeV1, corim)
			require.ErrorIs(t, err, provisioning.ErrUnknownOutcome)
			require.ErrorContains(t, err, tc.want)
			require.Nil(t, receipt)
			require.EqualValues(t, 1, s.count.Load())
		})
	}
}

func TestAnswerTooLate(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-release
	})
	t.Cleanup(func() { close(release) })
	c := s.client(t, func(cfg *provisioning.Config) { cfg.Timeout = 50 * time.Millisecond })
	_, err := c.Submit(t.Context(), mediaTypeV1, corim)
	require.ErrorIs(t, err, provisioning.ErrUnknownOutcome)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// What certainly had no effect is repeated until it has.
func TestRepeated(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"too many requests":   reply(429, "", "Retry-After", "0"),
		"unavailable":         unavailable("0"),
		"verifier restarts":   problem(500, "could not check media type with provisioner: rpc error: code = Unavailable"),
		"verifier restarts 2": problem(500, "could not get supported media types from provisioner: rpc error"),
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, answer, answer, reply(200, success))
			receipt, err := s.client(t, nil).Submit(t.Context(), mediaTypeV1, corim)
			require.NoError(t, err)
			require.Equal(t, 3, receipt.Attempts)
		})
	}
}

func TestRepeatedInVain(t *testing.T) {
	s := serve(t, problem(503, "maintenance"))
	_, err := s.client(t, nil).Submit(t.Context(), mediaTypeV1, corim)
	var problem *provisioning.ProblemError
	require.ErrorAs(t, err, &problem)
	require.Equal(t, 503, problem.Status)
	require.NotErrorIs(t, err, provisioning.ErrUnknownOutcome)
	require.EqualValues(t, 5, s.count.Load())
}

func TestRetryAfterIsHeeded(t *testing.T) {
	s := serve(t, reply(429, "", "Retry-After", "1"), reply(200, success))
	receipt, err := s.client(t, nil).Submit(t.Context(), mediaTypeV1, corim)
	require.NoError(t, err)
	require.GreaterOrEqual(t, receipt.Took, time.Second)
}

// A pause that would outlast the deadline is not made.
func TestNoWaitingForTheDeadline(t *testing.T) {
	s := serve(t, unavailable("20"))
	started := time.Now()
	_, err := s.client(t, nil).Submit(t.Context(), mediaTypeV1, corim)
	require.ErrorContains(t, err, "HTTP 503")
	require.Less(t, time.Since(started), 5*time.Second)
}

// Nothing listens, and then something does: each attempt was safe.
func TestConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	c, err := provisioning.New("http://"+address, provisioning.Config{InsecureHTTP: true})
	require.NoError(t, err)
	t.Cleanup(c.Close)

	var late http.Server
	late.Handler = reply(200, success)
	var serving sync.WaitGroup
	time.AfterFunc(200*time.Millisecond, func() {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return
		}
		serving.Go(func() { _ = late.Serve(l) })
	})
	receipt, err := c.Submit(t.Context(), mediaTypeV1, corim)
	require.NoError(t, err)
	require.Greater(t, receipt.Attempts, 1)
	require.NoError(t, late.Close())
	serving.Wait()
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	c, err := provisioning.New("http://"+l.Addr().String(), provisioning.Config{InsecureHTTP: true})
	require.NoError(t, err)
	_, err = c.Submit(t.Context(), mediaTypeV1, corim)
	require.ErrorContains(t, err, "connection refused")
	require.NotErrorIs(t, err, provisioning.ErrUnknownOutcome)
}

func TestUntrustedServer(t *testing.T) {
	s := serve(t, reply(200, success))
	c := s.client(t, func(cfg *provisioning.Config) { cfg.TLS = nil })
	_, err := c.Submit(t.Context(), mediaTypeV1, corim)
	require.ErrorContains(t, err, "certificate signed by unknown authority")
	require.NotErrorIs(t, err, provisioning.ErrUnknownOutcome)
	require.Zero(t, s.count.Load())
}

func TestAsynchronous(t *testing.T) {
	s := serve(t,
		reply(201, processing, "Location", "/endorsement-provisioning/v1/session/1"),
		reply(200, processing),
		reply(503, ""), // a poll is safe to repeat
		hangUp,
		func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/endorsement-provisioning/v1/session/1" {
				w.WriteHeader(http.StatusBadRequest)
			}
			reply(200, success)(w, r)
		},
		func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodDelete {
				t.Errorf("%s %s after the end, want DELETE", r.Method, r.URL)
			}
			w.WriteHeader(http.StatusNoContent)
		})
	receipt, err := s.client(t, nil).Submit(t.Context(), mediaTypeV1, corim)
	require.NoError(t, err)
	require.True(t, receipt.Asynchronous)
	require.EqualValues(t, 6, s.count.Load())
}

// That the session can be deleted says nothing about its outcome.
func TestAsynchronousRefused(t *testing.T) {
	s := serve(t,
		reply(201, "", "Location", "session/1"),
		reply(200, `{"status":"failed","failure-reason":"bad CoRIM"}`),
		reply(200, ""))
	_, err := s.client(t, nil).Submit(t.Context(), mediaTypeV1, corim)
	var refused *provisioning.RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "bad CoRIM", refused.Reason)
	require.NotErrorIs(t, err, provisioning.ErrUnknownOutcome)
	require.EqualValues(t, 3, s.count.Load())
}

func TestAsynchronousLost(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"session gone":     reply(404, ""),
		"never done":       reply(200, processing),
		"not a session":    reply(200, "[]"),
		"not allowed":      reply(401, ""),
		"service went off": hangUp,
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, reply(201, processing, "Location", "/session/1"), answer)
			c := s.client(t, func(cfg *provisioning.Config) { cfg.Timeout = 700 * time.Millisecond })
			_, err := c.Submit(t.Context(), mediaTypeV1, corim)
			require.ErrorIs(t, err, provisioning.ErrUnknownOutcome)
		})
	}
}

// tokens gives a new token each time.
type tokens struct{ given atomic.Int32 }

func (s *tokens) Token() (*oauth2.Token, error) {
	n := s.given.Add(1)
	return &oauth2.Token{AccessToken: strings.Repeat("t", int(n)), Expiry: time.Now().Add(time.Hour)}, nil
}

// A token that is not taken any more is replaced once.
func TestTokenRenewed(t *testing.T) {
	var source tokens
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer tt" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		reply(200, success)(w, r)
	})
	c := s.client(t, func(cfg *provisioning.Config) { cfg.TokenSource = &source })
	for range 2 {
		_, err := c.Submit(t.Context(), mediaTypeV1, corim)
		require.NoError(t, err)
	}
	require.EqualValues(t, 2, source.given.Load())
	require.EqualValues(t, 3, s.count.Load())
}

func TestTokenNotTaken(t *testing.T) {
	var source tokens
	s := serve(t, problem(401, "no role"))
	c := s.client(t, func(cfg *provisioning.Config) { cfg.TokenSource = &source })
	_, err := c.Submit(t.Context(), mediaTypeV1, corim)
	require.ErrorContains(t, err, "HTTP 401: Unauthorized: no role")
	require.EqualValues(t, 2, s.count.Load())
}

type noToken struct{}

func (noToken) Token() (*oauth2.Token, error) { return nil, errors.New("invalid_client") }

func TestNoToken(t *testing.T) {
	s := serve(t, reply(200, success))
	c := s.client(t, func(cfg *provisioning.Config) { cfg.TokenSource = noToken{} })
	_, err := c.Submit(t.Context(), mediaTypeV1, corim)
	require.EqualError(t, err, "submitting endorsements: getting access token: invalid_client")
	require.Zero(t, s.count.Load())
}

func TestNothingToSubmit(t *testing.T) {
	s := serve(t, reply(200, success))
	c := s.client(t, nil)
	_, err := c.Submit(t.Context(), mediaTypeV1, nil)
	require.ErrorContains(t, err, "there are none")
	_, err = c.Submit(t.Context(), "corim", []byte{})
	require.ErrorContains(t, err, "there are none")
	_, err = c.Submit(t.Context(), "a/b; c", corim)
	require.ErrorContains(t, err, "media type")
	require.Zero(t, s.count.Load())
}

func TestCancelled(t *testing.T) {
	s := serve(t, unavailable("5"))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err := s.client(t, nil).Submit(ctx, mediaTypeV1, corim)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "HTTP 503")
	require.NotErrorIs(t, err, provisioning.ErrUnknownOutcome)
}
