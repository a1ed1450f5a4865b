// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/veraison/attested-tls/provisioning"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	mediaTypeV1 = `application/corim-unsigned+cbor; profile="tag:github.com/parallaxsecond,2023-03-03:tpm"`
	sessionType = "application/vnd.veraison.provisioning-session+json"
	success     = `{"status":"success","expiry":"2026-11-21T00:00:00Z"}`
	processing  = `{"status":"processing","expiry":"2026-11-21T00:00:00Z"}`
	wellKnown   = `{"media-types":["application/corim-unsigned+cbor; profile=\"tag:github.com/parallaxsecond,2023-03-03:tpm\""],` +
		`"version":"v0.0.2501","service-state":"READY","api-endpoints":{}}`
)

// server answers by a script: one handler for each request, and the last one
// for all that follow.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	script []http.HandlerFunc
	count  atomic.Int32
}

func serve(t testing.TB, script ...http.HandlerFunc) *server {
	t.Helper()
	s := &server{script: script}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.count.Add(1)
		s.mu.Lock()
		h := s.script[0]
		if len(s.script) > 1 {
			s.script = s.script[1:]
		}
		s.mu.Unlock()
		h(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // tests provoke what it would say
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// client trusts the server.
func (s *server) client(t testing.TB, change func(*provisioning.Config)) *provisioning.Client {
	t.Helper()
	cfg := provisioning.Config{TLS: s.Client().Transport.(*http.Transport).TLSClientConfig, Timeout: 10 * time.Second}
	if change != nil {
		change(&cfg)
	}
	c, err := provisioning.New(s.URL, cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func reply(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// Read, as a service does that keeps the connection.
		_, _ = io.Copy(io.Discard, r.Body)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func problem(status int, detail string) http.HandlerFunc {
	return reply(status, fmt.Sprintf(`{"title":%q,"status":%d,"detail":%q}`, http.StatusText(status), status, detail),
		"Content-Type", "application/problem+json")
}

// unavailable is the service's own 503. A parameter of the type means nothing.
func unavailable(retryAfter string) http.HandlerFunc {
	return reply(http.StatusServiceUnavailable, `{"type":"about:blank","title":"Service Unavailable"}`,
		"Content-Type", "application/problem+json; charset=utf-8", "Retry-After", retryAfter)
}

// hangUp takes the request and closes the connection without an answer.
func hangUp(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}
