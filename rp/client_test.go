// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/oauth2"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/internal/rptest"
	"github.com/veraison/attested-tls/rp/policy"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

type object = rptest.Object

var evidence = rp.Evidence{MediaType: "application/vnd.parallaxsecond.key-attestation.tpm", Data: []byte("evidence")}

// trusting trusts the scripted verifier's certificate.
func trusting(v *rptest.Verifier) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(v.Certificate())
	return &tls.Config{RootCAs: roots}
}

// client makes a client of a scripted verifier, with its key pinned.
func client(t testing.TB, v *rptest.Verifier, change ...func(*rp.Config)) *rp.Veraison {
	t.Helper()
	cfg := rp.Config{Timeout: 10 * time.Second}
	if v.Certificate() != nil {
		cfg.TLS = trusting(v)
	} else {
		cfg.InsecureHTTP = true
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := rp.NewVeraison(v.URL, ear.Pin(rptest.Public(t, v.Key)), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c
}

func open(t testing.TB, v rp.Verifier, nonce []byte) rp.Session {
	t.Helper()
	s, err := v.NewSession(t.Context(), nonce)
	require.NoError(t, err)
	return s
}

// eventually waits for what happens in the background.
func eventually(t testing.TB, f func() bool) {
	t.Helper()
	require.Eventually(t, f, 10*time.Second, 5*time.Millisecond)
}

func TestChallengeResponse(t *testing.T) {
	for name, secure := range map[string]bool{"TLS": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			v := rptest.NewVerifier(t, secure)
			var got atomic.Value
			v.OnEvidence = func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got.Store([]string{r.Header.Get("Content-Type"), string(body), r.Header.Get("Accept"), r.UserAgent()})
				v.Complete(w, rptest.Sign(t, v.Key, rptest.Claims(v.Nonce(r))))
			}
			c := client(t, v, func(cfg *rp.Config) { cfg.UserAgent = "test/1" })
			for _, nonce := range [][]byte{nil, []byte("12345678"), []byte(strings.Repeat("\xff", 64))} {
				s := open(t, c, nonce)
				if nonce == nil {
					assert.Len(t, s.Nonce(), rp.NonceSize)
				} else {
					assert.Equal(t, nonce, s.Nonce())
				}
				assert.Equal(t, []string{evidence.MediaType}, s.Accept())
				assert.WithinDuration(t, time.Now().Add(150*time.Second), s.Expiry(), 5*time.Second)
				r, err := rp.Appraise(t.Context(), s, evidence, policy.Affirming())
				require.NoError(t, err)
				assert.Equal(t, s.Nonce(), r.Nonce)
				assert.Equal(t, []string{evidence.MediaType, "evidence", rptest.SessionType, "test/1 attested-tls-rp"}, got.Load())

				// Once.
				r, err = s.Appraise(t.Context(), evidence)
				require.ErrorIs(t, err, rp.ErrSessionUsed)
				assert.Nil(t, r)
				require.NoError(t, s.Close())
			}
			eventually(t, func() bool { return v.Open() == 0 })
			assert.EqualValues(t, 3, v.Deleted.Load())
		})
	}
}

// One connection serves many sessions.
func TestConnectionsAreReused(t *testing.T) {
	v := rptest.NewVerifier(t, true)
	var mu sync.Mutex
	peers := map[string]bool{}
	v.OnNew = func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		peers[r.RemoteAddr] = true
		mu.Unlock()
		v.NewSession(w, r)
	}
	c := client(t, v)
	for range 20 {
		s := open(t, c, nil)
		_, err := s.Appraise(t.Context(), evidence)
		require.NoError(t, err)
	}
	mu.Lock()
	defer mu.Unlock()
	// Deletions go on beside, and HTTP/2 is not spoken by the test server.
	assert.LessOrEqual(t, len(peers), 4)
}

func TestNonceFlavours(t *testing.T) {
	nonce := []byte{0xfb, 0xff, 0xbf, 0xfe, 0, 1, 2, 3, 4, 5}
	for name, encoding := range map[string]*base64.Encoding{
		"standard, padded": base64.StdEncoding, "standard": base64.RawStdEncoding,
		"url, padded": base64.URLEncoding, "url": base64.RawURLEncoding,
	} {
		v := rptest.NewVerifier(t, false)
		v.OnNew = func(w http.ResponseWriter, r *http.Request) {
			v.Session(w, "session/"+v.Remember(nonce), object{"nonce": encoding.EncodeToString(nonce)})
		}
		s := open(t, client(t, v), nonce)
		assert.Equal(t, nonce, s.Nonce(), name)
		_, err := s.Appraise(t.Context(), evidence)
		require.NoError(t, err)
	}
}

// What a session must not be like. Each has its own error and no session.
func TestNewSessionRefuses(t *testing.T) {
	nonce32 := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for name, c := range map[string]struct {
		nonce []byte
		serve func(v *rptest.Verifier) http.HandlerFunc
		text  string
	}{
		"nonce too short":          {nil, session("session/1", object{"nonce": "AAAAAAAAAAAAAAAAAAAAAA=="}), "the nonce has 16 bytes, asked for were 32"},
		"nonce of nobody":          {[]byte("12345678"), session("session/1", object{"nonce": "AAAAAAAAAAA="}), "for another nonce than was asked for"},
		"no nonce":                 {nil, session("session/1", nil), "the session's nonce: 0 bytes"},
		"nonce no base64":          {nil, session("session/1", object{"nonce": "!"}), "the session's nonce: not base64"},
		"no location":              {nil, session("", object{"nonce": nonce32}), "no Location"},
		"another host":             {nil, session("https://evil.example/challenge-response/v1/session/1", object{"nonce": nonce32}), "not of the verifier's origin"},
		"another host, schemeless": {nil, session("//evil.example/session/1", object{"nonce": nonce32}), "not of the verifier's origin"},
		"another port":             {nil, session("http://127.0.0.1:1/session/1", object{"nonce": nonce32}), "not of the verifier's origin"},
		"another scheme":           {nil, session("file:///etc/passwd", object{"nonce": nonce32}), "not of the verifier's origin"},
		"with user": {nil, func(v *rptest.Verifier) http.HandlerFunc {
			return session(strings.Replace(v.URL, "://", "://u:p@", 1)+"/x", object{"nonce": nonce32})(v)
		}, "not of the verifier's origin"},
		"location unreadable": {nil, session("http://[", object{"nonce": nonce32}), "unreadable Location"},
		"expired":             {nil, session("session/1", object{"nonce": nonce32, "expiry": "2020-01-01T00:00:00Z"}), "the session has expired already"},
		"malformed": {nil, func(*rptest.Verifier) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "session/1")
				rptest.Text(201, `{"nonce":`)(w, r)
			}
		}, "malformed session: unexpected EOF"},
		"an array": {nil, func(*rptest.Verifier) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "session/1")
				rptest.Text(201, `[]`)(w, r)
			}
		}, "malformed session"},
		"redirected": {nil, func(*rptest.Verifier) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://evil.example/", http.StatusTemporaryRedirect)
			}
		}, "redirected (HTTP 307) to \"https://evil.example/\", which is not followed"},
		"100 MB":            {nil, func(*rptest.Verifier) http.HandlerFunc { return hugeBody(false) }, "the answer has more than 1048576 bytes"},
		"100 MB, announced": {nil, func(*rptest.Verifier) http.HandlerFunc { return hugeBody(true) }, "the answer has 104857600 bytes, more than 1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			v := rptest.NewVerifier(t, false)
			v.OnNew = c.serve(v)
			s, err := client(t, v).NewSession(t.Context(), c.nonce)
			require.Nil(t, s)
			var protocol *rp.ProtocolError
			require.ErrorAs(t, err, &protocol)
			assert.ErrorContains(t, err, "opening session: ")
			assert.ErrorContains(t, err, c.text)
			assert.EqualValues(t, 1, v.New.Load())
		})
	}
}

func session(location string, changes object) func(v *rptest.Verifier) http.HandlerFunc {
	return func(v *rptest.Verifier) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { v.Session(w, location, changes) }
	}
}

func hugeBody(announced bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if announced {
			w.Header().Set("Content-Length", strconv.Itoa(100<<20))
		}
		w.Header().Set("Location", "session/1")
		w.WriteHeader(http.StatusCreated)
		zeros := make([]byte, 1<<20)
		for range 100 {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	}
}

// What an answer to evidence must not be like.
func TestAppraiseRefuses(t *testing.T) {
	other := rptest.Key(t)
	type answer = func(v *rptest.Verifier, t *testing.T) http.HandlerFunc
	// with answers with the EAR that f makes.
	with := func(f func(v *rptest.Verifier, nonce []byte) string) answer {
		return func(v *rptest.Verifier, _ *testing.T) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { v.Complete(w, f(v, v.Nonce(r))) }
		}
	}
	text := func(status int, s string) answer {
		return func(*rptest.Verifier, *testing.T) http.HandlerFunc { return rptest.Text(status, s) }
	}
	check := func(want ear.Check) func(*testing.T, error) {
		return func(t *testing.T, err error) {
			var bad *ear.Error
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, want, bad.Check, err)
		}
	}
	protocol := func(text string) func(*testing.T, error) {
		return func(t *testing.T, err error) {
			var bad *rp.ProtocolError
			require.ErrorAs(t, err, &bad)
			assert.ErrorContains(t, err, text)
		}
	}
	problem := func(status int, text string) func(*testing.T, error) {
		return func(t *testing.T, err error) {
			var bad *rp.ProblemError
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, status, bad.Status)
			assert.ErrorContains(t, err, text)
		}
	}
	for name, c := range map[string]struct {
		answer answer
		check  func(*testing.T, error)
	}{
		"wrong nonce in the EAR": {with(func(v *rptest.Verifier, _ []byte) string {
			return rptest.Sign(t, v.Key, rptest.Claims([]byte("another nonce")))
		}), check(ear.Nonce)},
		"no nonce in the EAR": {with(func(v *rptest.Verifier, n []byte) string {
			return rptest.Sign(t, v.Key, rptest.With(rptest.Claims(n), object{"eat_nonce": nil}))
		}), check(ear.Nonce)},
		"EAR signed by another key": {with(func(_ *rptest.Verifier, n []byte) string {
			return rptest.Sign(t, other, rptest.Claims(n))
		}), check(ear.Signature)},
		"alg none": {with(func(v *rptest.Verifier, n []byte) string {
			parts := strings.Split(rptest.Sign(t, v.Key, rptest.Claims(n)), ".")
			return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
		}), check(ear.Algorithm)},
		"HS256 with the public key": {with(func(v *rptest.Verifier, n []byte) string { return hs256(t, v.Key, n) }), check(ear.Algorithm)},
		"expired EAR": {with(func(v *rptest.Verifier, n []byte) string {
			return rptest.Sign(t, v.Key, rptest.With(rptest.Claims(n), object{"exp": time.Now().Add(-time.Hour).Unix()}))
		}), check(ear.Expired)},
		"an EAR from before the session": {with(func(v *rptest.Verifier, n []byte) string {
			return rptest.Sign(t, v.Key, rptest.With(rptest.Claims(n), object{"iat": time.Now().Add(-time.Hour).Unix()}))
		}), check(ear.Time)},
		"an EAR from the future": {with(func(v *rptest.Verifier, n []byte) string {
			return rptest.Sign(t, v.Key, rptest.With(rptest.Claims(n), object{"iat": time.Now().Add(time.Hour).Unix()}))
		}), check(ear.Time)},
		"another verifier": {with(func(v *rptest.Verifier, n []byte) string {
			return rptest.Sign(t, v.Key, rptest.With(rptest.Claims(n), object{"ear.verifier-id": object{"developer": "Somebody", "build": "v0.0.2501"}}))
		}), check(ear.Verifier)},
		"not a JWT":       {with(func(*rptest.Verifier, []byte) string { return "x" }), check(ear.Malformed)},
		"malformed JSON":  {text(200, `{"status":"complete","result":`), protocol("malformed session")},
		"not JSON":        {text(200, `<html>`), protocol("malformed session")},
		"empty":           {text(200, ``), protocol("malformed session")},
		"no result":       {text(200, `{"status":"complete"}`), protocol("has no result")},
		"result a number": {text(200, `{"status":"complete","result":1}`), protocol("malformed session")},
		"still waiting":   {text(200, `{"status":"waiting"}`), protocol("HTTP 200 without a result")},
		"status unknown":  {text(200, `{"status":"perhaps"}`), protocol(`unknown session status "perhaps"`)},
		"no status":       {text(200, `{}`), protocol(`unknown session status ""`)},
		"failed":          {text(200, `{"status":"failed"}`), problem(200, "the verifier failed to appraise")},
		"204":             {text(204, ``), problem(204, "HTTP 204: No Content")},
		"problem document": {func(*rptest.Verifier, *testing.T) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				rptest.Problem(w, 415, "no active plugin\nfound for a/b")
			}
		}, problem(415, "submitting evidence: HTTP 415: Unsupported Media Type: no active plugin found for a/b")},
		"500":          {text(500, "boom"), problem(500, "HTTP 500: Internal Server Error: boom")},
		"503":          {text(503, `{"title":"down"}`), problem(503, "HTTP 503: down")},
		"a long story": {text(400, strings.Repeat("x", 1<<20)), problem(400, "xxx…")},
		"redirect": {func(_ *rptest.Verifier, t *testing.T) http.HandlerFunc {
			elsewhere := rptest.NewVerifier(t, false)
			t.Cleanup(func() {
				assert.Zero(t, elsewhere.Evidence.Load(), "evidence and credentials went elsewhere")
				assert.Zero(t, elsewhere.Get.Load())
			})
			return func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusPermanentRedirect)
			}
		}, protocol("redirected (HTTP 308)")},
		"redirect at home": {func(v *rptest.Verifier, _ *testing.T) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, v.URL+"/x", http.StatusFound) }
		}, protocol("redirected (HTTP 302)")},
		"100 MB": {func(*rptest.Verifier, *testing.T) http.HandlerFunc { return hugeBody(false) }, protocol("the answer has more than 1048592 bytes")},
		"connection reset in the answer": {func(_ *rptest.Verifier, t *testing.T) http.HandlerFunc { return rptest.Reset(t) }, func(t *testing.T, err error) {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			assert.ErrorContains(t, err, "submitting evidence: reading the answer: ")
		}},
		"connection closed": {func(*rptest.Verifier, *testing.T) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		}, func(t *testing.T, err error) { require.ErrorIs(t, err, io.EOF) }},
		"202, then a problem": {text(202, `{"status":"processing"}`), problem(404, "waiting for the result: HTTP 404")},
	} {
		t.Run(name, func(t *testing.T) {
			v := rptest.NewVerifier(t, false)
			v.OnEvidence = c.answer(v, t)
			v.OnGet = rptest.Text(404, "")
			s := open(t, client(t, v, func(cfg *rp.Config) {
				cfg.Username, cfg.Password = "user", "secret"
				cfg.VerifierID = ear.VerifierID{Developer: "Veraison Project"}
			}), nil)
			r, err := s.Appraise(t.Context(), evidence)
			require.Nil(t, r)
			require.Error(t, err)
			c.check(t, err)
			assert.NotContains(t, err.Error(), "secret")
			assert.EqualValues(t, 1, v.Evidence.Load(), "evidence was sent again")
			// Deleted also when it has failed.
			eventually(t, func() bool { return v.Deleted.Load() == 1 })
		})
	}
}

// 202: the verifier takes its time.
func TestPolling(t *testing.T) {
	processing := func(w http.ResponseWriter, _ *http.Request) { rptest.JSON(w, 202, object{"status": "processing"}) }
	v := rptest.NewVerifier(t, false)
	v.OnEvidence = processing
	v.OnGet = func(w http.ResponseWriter, r *http.Request) {
		switch v.Get.Load() {
		case 1:
			rptest.JSON(w, 200, object{"status": "processing"})
		case 2:
			w.WriteHeader(500) // asking again is safe
		case 3:
			processing(w, r)
		default:
			v.Appraise(w, r)
		}
	}
	s := open(t, client(t, v), nil)
	r, err := s.Appraise(t.Context(), evidence)
	require.NoError(t, err)
	assert.Equal(t, s.Nonce(), r.Nonce)
	assert.EqualValues(t, 1, v.Evidence.Load())
	assert.EqualValues(t, 4, v.Get.Load())
}

func TestPollingNeverCompletes(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	processing := func(w http.ResponseWriter, _ *http.Request) { rptest.JSON(w, 202, object{"status": "processing"}) }
	v.OnEvidence, v.OnGet = processing, processing
	for name, change := range map[string]func(ctx context.Context, cfg *rp.Config) (context.Context, context.CancelFunc){
		"own limit": func(ctx context.Context, cfg *rp.Config) (context.Context, context.CancelFunc) {
			cfg.Timeout = 300 * time.Millisecond
			return context.WithCancel(ctx)
		},
		"the caller's": func(ctx context.Context, _ *rp.Config) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 300*time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var ctx context.Context
			var cancel context.CancelFunc
			c := client(t, v, func(cfg *rp.Config) { ctx, cancel = change(t.Context(), cfg) })
			defer cancel()
			s := open(t, c, nil)
			started := time.Now()
			r, err := s.Appraise(ctx, evidence)
			require.Nil(t, r)
			require.ErrorIs(t, err, rp.ErrUnfinished)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Less(t, time.Since(started), 5*time.Second)
		})
	}
}

// Polls are no closer than the verifier asks for.
func TestRetryAfterOfPolls(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	v.OnEvidence = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		rptest.JSON(w, 202, object{"status": "processing"})
	}
	s := open(t, client(t, v), nil)
	started := time.Now()
	_, err := s.Appraise(t.Context(), evidence)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(started), time.Second)
	assert.EqualValues(t, 1, v.Get.Load())
}

func TestRepeating(t *testing.T) {
	t.Run("500, then success", func(t *testing.T) {
		v := rptest.NewVerifier(t, false)
		v.OnNew = func(w http.ResponseWriter, r *http.Request) {
			if v.New.Load() < 3 {
				rptest.Problem(w, 500, "not now")
				return
			}
			v.NewSession(w, r)
		}
		var waits atomic.Int32
		ctx := rp.WithTrace(t.Context(), &rp.Trace{Waiting: func(string, time.Duration, error) { waits.Add(1) }})
		s, err := client(t, v).NewSession(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		assert.EqualValues(t, 3, v.New.Load())
		assert.EqualValues(t, 2, waits.Load())
	})
	t.Run("500 for ever", func(t *testing.T) {
		v := rptest.NewVerifier(t, false)
		v.OnNew = rptest.Text(500, "")
		_, err := client(t, v).NewSession(t.Context(), nil)
		var problem *rp.ProblemError
		require.ErrorAs(t, err, &problem)
		assert.Equal(t, 500, problem.Status)
		assert.EqualValues(t, 4, v.New.Load())
	})
	t.Run("connection reset", func(t *testing.T) {
		v := rptest.NewVerifier(t, false)
		v.OnNew = func(w http.ResponseWriter, r *http.Request) {
			if v.New.Load() < 2 {
				rptest.Reset(t)(w, r)
				return
			}
			v.NewSession(w, r)
		}
		open(t, client(t, v), nil)
		assert.EqualValues(t, 2, v.New.Load())
	})
	t.Run("not within the deadline", func(t *testing.T) {
		v := rptest.NewVerifier(t, false)
		v.OnNew = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "20")
			rptest.Problem(w, 503, "busy")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		started := time.Now()
		_, err := client(t, v).NewSession(ctx, nil)
		var problem *rp.ProblemError
		require.ErrorAs(t, err, &problem)
		assert.Equal(t, 20*time.Second, problem.RetryAfter)
		assert.Less(t, time.Since(started), 4*time.Second, "waited for nothing")
	})
	t.Run("not a refusal", func(t *testing.T) {
		v := rptest.NewVerifier(t, false)
		v.OnNew = rptest.Text(401, "")
		_, err := client(t, v).NewSession(t.Context(), nil)
		require.Error(t, err)
		assert.EqualValues(t, 1, v.New.Load())
	})
	t.Run("cancelled while waiting", func(t *testing.T) {
		v := rptest.NewVerifier(t, false)
		v.OnNew = rptest.Text(503, "")
		ctx, cancel := context.WithCancel(t.Context())
		ctx = rp.WithTrace(ctx, &rp.Trace{Waiting: func(string, time.Duration, error) { cancel() }})
		_, err := client(t, v).NewSession(ctx, nil)
		require.ErrorIs(t, err, context.Canceled)
		var problem *rp.ProblemError
		require.ErrorAs(t, err, &problem, "what it waited because of")
	})
}

// A body that comes too slowly is given up at the deadline.
func TestSlowBody(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	v.OnEvidence = func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		for {
			if _, err := w.Write([]byte(" ")); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	s := open(t, client(t, v), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	r, err := s.Appraise(ctx, evidence)
	require.Nil(t, r)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "reading the answer")
}

func TestTLSNotTrusted(t *testing.T) {
	v := rptest.NewVerifier(t, true)
	c := client(t, v, func(cfg *rp.Config) { cfg.TLS = nil })
	started := time.Now()
	_, err := c.NewSession(t.Context(), nil)
	var bad *tls.CertificateVerificationError
	require.ErrorAs(t, err, &bad)
	assert.Less(t, time.Since(started), 2*time.Second)
	assert.Zero(t, v.New.Load())
}

func TestVerifierDown(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	c := client(t, v)
	s := open(t, c, nil)
	v.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := c.NewSession(ctx, nil)
	require.ErrorContains(t, err, "connection refused")
	// The evidence may be tried again: there was nobody to get it.
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r, err := s.Appraise(ctx, evidence)
	require.Nil(t, r)
	require.Error(t, err)
}

func TestSessionExpires(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	v.OnNew = func(w http.ResponseWriter, r *http.Request) {
		// The verifier's clock is an hour ahead. Date has whole seconds.
		now := time.Now().Add(time.Hour)
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		nonce := make([]byte, 32)
		v.Session(w, "session/"+v.Remember(nonce), object{"nonce": base64.StdEncoding.EncodeToString(nonce), "expiry": now.Add(time.Second).Format(time.RFC3339Nano)})
	}
	s := open(t, client(t, v), nil)
	assert.WithinDuration(t, time.Now(), s.Expiry(), 3*time.Second)
	time.Sleep(time.Until(s.Expiry()) + 10*time.Millisecond)
	r, err := s.Appraise(t.Context(), evidence)
	require.Nil(t, r)
	require.ErrorIs(t, err, rp.ErrSessionExpired)
	assert.Zero(t, v.Evidence.Load())
}

func TestEvidenceThatIsNone(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	s := open(t, client(t, v), nil)
	for _, e := range []rp.Evidence{{}, {Data: []byte("x")}, {MediaType: "a/b"}, {MediaType: "a b", Data: []byte("x")}, {MediaType: "a/b\r\nX: y", Data: []byte("x")}} {
		_, err := s.Appraise(t.Context(), e)
		require.Error(t, err)
	}
	// The session is still good.
	_, err := s.Appraise(t.Context(), evidence)
	require.NoError(t, err)
	_, err = client(t, v).NewSession(t.Context(), []byte("1234567"))
	require.ErrorContains(t, err, "a nonce of 7 bytes")
}

func TestAppraiseNeedsAPolicy(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	s := open(t, client(t, v), nil)
	_, err := rp.Appraise(t.Context(), s, evidence, nil)
	require.ErrorIs(t, err, rp.ErrNoPolicy)
	r, err := rp.Appraise(t.Context(), s, evidence, policy.TPM.AttestedKey())
	var refused *rp.PolicyError
	require.ErrorAs(t, err, &refused)
	require.Nil(t, r)
}

func TestClosedClient(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	c := client(t, v)
	s := open(t, c, nil)
	require.NoError(t, c.Close())
	_, err := c.NewSession(t.Context(), nil)
	require.ErrorIs(t, err, rp.ErrClosed)
	_, err = s.Appraise(t.Context(), evidence)
	require.ErrorIs(t, err, rp.ErrClosed)
	require.NoError(t, s.Close())
}

func TestConfigRefused(t *testing.T) {
	keys := ear.Pin(rptest.Public(t, rptest.Key(t)))
	for name, c := range map[string]struct {
		url  string
		keys ear.KeySource
		cfg  rp.Config
	}{
		"no keys":            {"https://v.example", nil, rp.Config{}},
		"no URL":             {"", keys, rp.Config{}},
		"no scheme":          {"v.example", keys, rp.Config{}},
		"plain http":         {"http://v.example", keys, rp.Config{}},
		"plain loopback":     {"http://127.0.0.1:8080", keys, rp.Config{}},
		"another scheme":     {"ftp://v.example", keys, rp.Config{InsecureHTTP: true}},
		"credentials in URL": {"https://u:p@v.example", keys, rp.Config{}},
		"a query":            {"https://v.example?x", keys, rp.Config{}},
		"two credentials":    {"https://v.example", keys, rp.Config{Username: "u", TokenSource: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "t"})}},
		"password alone":     {"https://v.example", keys, rp.Config{Password: "p"}},
		"colon":              {"https://v.example", keys, rp.Config{Username: "u:v"}},
		"transport and TLS":  {"https://v.example", keys, rp.Config{Transport: http.DefaultTransport, TLS: &tls.Config{}}},
		"negative":           {"https://v.example", keys, rp.Config{Timeout: -1}},
		"discovery, plain":   {"http://v.example", rp.Discover(), rp.Config{InsecureHTTP: true}},
		"discovery, anybody": {"https://v.example", rp.Discover(), rp.Config{TLS: &tls.Config{InsecureSkipVerify: true}}},
	} {
		v, err := rp.NewVeraison(c.url, c.keys, c.cfg)
		assert.Error(t, err, name)
		assert.Nil(t, v, name)
		if err != nil {
			assert.NotContains(t, err.Error(), "u:p", name)
		}
	}
}

func TestBasePath(t *testing.T) {
	v := rptest.NewVerifier(t, false)
	inner := v.Config.Handler
	v.Config.Handler = http.StripPrefix("/veraison", inner)
	c, err := rp.NewVeraison(v.URL+"/veraison/", ear.Pin(rptest.Public(t, v.Key)), rp.Config{InsecureHTTP: true})
	require.NoError(t, err)
	defer c.Close()
	_, err = open(t, c, nil).Appraise(t.Context(), evidence)
	require.NoError(t, err)
}

func TestAuthentication(t *testing.T) {
	t.Run("basic", func(t *testing.T) {
		v := rptest.NewVerifier(t, true)
		var seen []string
		v.OnNew = func(w http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			seen = append(seen, user, password)
			v.NewSession(w, r)
		}
		open(t, client(t, v, func(cfg *rp.Config) { cfg.Username, cfg.Password = "user", "pass:word" }), nil)
		assert.Equal(t, []string{"user", "pass:word"}, seen)
	})
	t.Run("OAuth2, refreshed", func(t *testing.T) {
		v := rptest.NewVerifier(t, true)
		var mu sync.Mutex
		var seen []string
		v.OnNew = func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			seen = append(seen, r.Header.Get("Authorization"))
			mu.Unlock()
			v.NewSession(w, r)
		}
		source := &tokens{expiry: []time.Duration{time.Hour, time.Hour}}
		c := client(t, v, func(cfg *rp.Config) { cfg.TokenSource = source })
		open(t, c, nil)
		open(t, c, nil)
		source.calls.Store(0)
		assert.Equal(t, []string{"Bearer token-1", "Bearer token-1"}, seen)

		// One that is about to expire is replaced.
		source = &tokens{expiry: []time.Duration{time.Second, time.Hour}}
		seen = nil
		c = client(t, v, func(cfg *rp.Config) { cfg.TokenSource = oauth2.ReuseTokenSourceWithExpiry(nil, source, 0) })
		_, err := c.NewSession(t.Context(), nil)
		require.ErrorContains(t, err, "getting access token")
		source = &tokens{expiry: []time.Duration{11 * time.Second, time.Hour}}
		c = client(t, v, func(cfg *rp.Config) { cfg.TokenSource = source })
		open(t, c, nil)
		time.Sleep(1200 * time.Millisecond) // oauth2 takes tokens for expired 10 s before
		open(t, c, nil)
		assert.Equal(t, []string{"Bearer token-1", "Bearer token-2"}, seen)
	})
	t.Run("OAuth2, refused", func(t *testing.T) {
		v := rptest.NewVerifier(t, true)
		v.OnNew = rptest.Text(401, "")
		source := &tokens{expiry: []time.Duration{time.Hour, time.Hour}}
		c := client(t, v, func(cfg *rp.Config) { cfg.TokenSource = source })
		for range 2 {
			_, err := c.NewSession(t.Context(), nil)
			var problem *rp.ProblemError
			require.ErrorAs(t, err, &problem)
		}
		assert.EqualValues(t, 2, source.calls.Load(), "a token that was refused is used again")
	})
	t.Run("OAuth2, no token", func(t *testing.T) {
		v := rptest.NewVerifier(t, true)
		failed := errors.New("no token today")
		c := client(t, v, func(cfg *rp.Config) { cfg.TokenSource = &tokens{err: failed} })
		_, err := c.NewSession(t.Context(), nil)
		require.ErrorIs(t, err, failed)
		assert.Zero(t, v.New.Load())
	})
	t.Run("OAuth2, slow", func(t *testing.T) {
		v := rptest.NewVerifier(t, true)
		source := &tokens{expiry: []time.Duration{time.Hour}, hang: make(chan struct{})}
		defer close(source.hang)
		c := client(t, v, func(cfg *rp.Config) { cfg.TokenSource = source })
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		for range 3 {
			_, err := c.NewSession(ctx, nil)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.ErrorContains(t, err, "getting access token")
		}
		assert.EqualValues(t, 1, source.calls.Load(), "one call at a time")
	})
}

// tokens gives token-1, token-2 and so on.
type tokens struct {
	expiry []time.Duration
	err    error
	hang   chan struct{}
	calls  atomic.Int32
}

func (s *tokens) Token() (*oauth2.Token, error) {
	n := int(s.calls.Add(1))
	if s.hang != nil {
		<-s.hang
	}
	if s.err != nil {
		return nil, s.err
	}
	return &oauth2.Token{AccessToken: fmt.Sprintf("token-%d", n), Expiry: time.Now().Add(s.expiry[n-1])}, nil
}
