// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rptest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
)

// SessionType is the media type of the API's answers.
const SessionType = "application/vnd.veraison.challenge-response-session+json"

// Verifier is an HTTP server that behaves as Veraison v0.0.2501 does, except
// where a test replaces a handler. Handlers are replaced before the first
// request.
type Verifier struct {
	*httptest.Server
	Key *ecdsa.PrivateKey

	// OnNew, OnEvidence, OnGet, OnDelete and OnWellKnown answer instead, if
	// they are set.
	OnNew, OnEvidence, OnGet, OnDelete, OnWellKnown http.HandlerFunc

	// How many requests there were.
	New, Evidence, Get, Deleted, WellKnown atomic.Int32

	t        testing.TB
	mu       sync.Mutex
	sessions map[string][]byte
	next     int
}

// NewVerifier starts one over TLS, or without.
func NewVerifier(t testing.TB, tls bool) *Verifier {
	t.Helper()
	v := &Verifier{t: t, Key: Key(t), sessions: map[string][]byte{}}
	mux := http.NewServeMux()
	handle := func(pattern string, count *atomic.Int32, own *http.HandlerFunc, standard http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			count.Add(1)
			if *own != nil {
				(*own)(w, r)
				return
			}
			standard(w, r)
		})
	}
	handle("POST /challenge-response/v1/newSession", &v.New, &v.OnNew, v.NewSession)
	handle("POST /challenge-response/v1/session/{id}", &v.Evidence, &v.OnEvidence, v.Appraise)
	handle("GET /challenge-response/v1/session/{id}", &v.Get, &v.OnGet, v.Appraise)
	handle("DELETE /challenge-response/v1/session/{id}", &v.Deleted, &v.OnDelete, v.Delete)
	handle("GET /.well-known/veraison/verification", &v.WellKnown, &v.OnWellKnown, v.ServeKey)
	v.Server = httptest.NewUnstartedServer(mux)
	v.Config.ErrorLog = log.New(io.Discard, "", 0) // tests provoke what it would say
	if tls {
		v.StartTLS()
	} else {
		v.Start()
	}
	t.Cleanup(v.Close)
	return v
}

// NewSession is the standard answer.
func (v *Verifier) NewSession(w http.ResponseWriter, r *http.Request) {
	nonce := make([]byte, 32)
	rand.Read(nonce)
	if text := r.URL.Query().Get("nonce"); text != "" {
		var err error
		if nonce, err = base64.URLEncoding.DecodeString(text); err != nil {
			Problem(w, http.StatusBadRequest, "nonce must be valid base64")
			return
		}
	}
	v.Session(w, "session/"+v.Remember(nonce), Object{"nonce": base64.StdEncoding.EncodeToString(nonce)})
}

// Remember makes a session for a nonce.
func (v *Verifier) Remember(nonce []byte) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next++
	id := fmt.Sprint(v.next)
	v.sessions[id] = nonce
	return id
}

// Forget forgets all sessions.
func (v *Verifier) Forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.sessions)
}

// Open is how many sessions there are.
func (v *Verifier) Open() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.sessions)
}

// Session answers with a new session, some of it replaced.
func (v *Verifier) Session(w http.ResponseWriter, location string, changes Object) {
	if location != "" {
		w.Header().Set("Location", location)
	}
	JSON(w, http.StatusCreated, With(Object{
		"status": "waiting",
		"expiry": time.Now().Add(150 * time.Second).Format(time.RFC3339Nano),
		"accept": []string{"application/vnd.parallaxsecond.key-attestation.tpm"},
	}, changes))
}

// Nonce is that of the session that a request is about, nil for none.
func (v *Verifier) Nonce(r *http.Request) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sessions[r.PathValue("id")]
}

// Appraise is the standard answer: it affirms whatever it is.
func (v *Verifier) Appraise(w http.ResponseWriter, r *http.Request) {
	nonce := v.Nonce(r)
	if nonce == nil {
		Problem(w, http.StatusNotFound, "session not found")
		return
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	v.Complete(w, Sign(v.t, v.Key, Claims(nonce)))
}

// Complete answers with a result.
func (v *Verifier) Complete(w http.ResponseWriter, token string) {
	JSON(w, http.StatusOK, Object{"status": "complete", "result": token})
}

// Delete is the standard answer.
func (v *Verifier) Delete(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.sessions, r.PathValue("id"))
	w.WriteHeader(http.StatusNoContent)
}

// ServeKey is the standard answer.
func (v *Verifier) ServeKey(w http.ResponseWriter, _ *http.Request) {
	JSON(w, http.StatusOK, Object{"ear-verification-key": jose.JSONWebKey{Key: &v.Key.PublicKey}, "version": "v0.0.2501", "service-state": "READY"})
}

// JSON answers with an object.
func JSON(w http.ResponseWriter, status int, o Object) {
	w.Header().Set("Content-Type", SessionType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(o)
}

// Problem answers with a problem document.
func Problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(Object{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail})
}

// Text answers with any text.
func Text(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.Copy(w, strings.NewReader(text))
	}
}

// Reset breaks the connection off in the middle of an answer.
func Reset(t testing.TB) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, buf, err := w.(http.Hijacker).Hijack()
		require.NoError(t, err)
		_, _ = buf.WriteString("HTTP/1.1 200 OK\r\nContent-Type: " + SessionType + "\r\nContent-Length: 1000\r\n\r\n{\"status\":\"comp")
		_ = buf.Flush()
		_ = conn.Close()
	}
}
