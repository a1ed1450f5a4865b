// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"

	"github.com/veraison/attested-tls/internal/expauth"
)

// HookServer prepares an http.Server for serving on a Listener: handlers then
// find the peer with PeerFromContext, and their contexts end when it is found not
// to be good any more. A ConnContext that is there is kept.
// The server's TLSConfig has no part in it; for HTTP/2 the listener's Config.TLS
// needs "h2" in NextProtos, as NextProtos of this package has.
func HookServer(s *http.Server) {
	inner := s.ConnContext
	s.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if inner != nil {
			ctx = inner(ctx, conn)
		}
		if s := sessionOf(conn); s != nil {
			var end context.CancelCauseFunc
			ctx, end = context.WithCancelCause(ctx) // net/http ends it with the connection
			s.http.end.Store(&end)
		}
		return ConnContext(ctx, conn)
	}
}

// NextProtos are the application protocols of net/http, for Config.TLS.
func NextProtos() []string { return []string{"h2", "http/1.1"} }

// RequireAttested is a handler that lets requests through whose connection's
// peer was attested, and answers 403 to all others: to clients that had nothing
// to attest, and to whoever came another way than through a Listener. Who is
// attested is in PeerFromContext; Request.TLS may name somebody else, unless
// Requirement.SameCertificate is set.
func RequireAttested(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := PeerFromContext(r.Context()); !ok {
			http.Error(w, "this needs an attested connection", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Transport is an http.RoundTripper over attested connections, for https URLs.
// The request of each response knows the peer: PeerFromContext of
// Response.Request.Context().
type Transport struct {
	cfg   *Config
	inner *http.Transport
	turn  chan struct{} // one Reattest at a time
}

// NewTransport makes a Transport whose connections are made with cfg, with
// HTTP/2 where the server has it. With nil for base it has net/http's default
// settings; base is cloned. TLS and dialling are this package's: what base says
// about them does not count, and it must not have a proxy of its own.
func NewTransport(cfg *Config, base *http.Transport) (*Transport, error) {
	if cfg == nil || cfg.TLS == nil {
		return nil, errors.New("tlsbinding: no TLS configuration is given")
	}
	// Whether the rest is right is found out by a name that stands for all.
	probe, err := cfg.forAddress("server.invalid:443")
	if err != nil {
		return nil, err
	}
	if err := probe.check(expauth.Client); err != nil {
		return nil, err
	}
	if base == nil {
		base, _ = http.DefaultTransport.(*http.Transport)
		if base == nil {
			base = new(http.Transport)
		}
		base = base.Clone()
		base.Proxy = nil
	}
	if base.Proxy != nil {
		return nil, errors.New("tlsbinding: a proxy is not supported")
	}
	own := *cfg
	own.TLS = cfg.TLS.Clone()
	if len(own.TLS.NextProtos) == 0 {
		own.TLS.NextProtos = NextProtos()
	}
	t := &Transport{cfg: &own, inner: base.Clone(), turn: make(chan struct{}, 1)}
	t.inner.DialTLSContext = t.dial
	//lint:ignore SA1019 it would take DialTLSContext's place where a base still has it
	t.inner.DialTLS = nil
	t.inner.TLSClientConfig = nil
	// A base that has spoken HTTP/2 brings its own connections here.
	t.inner.TLSNextProto = nil
	t.inner.ForceAttemptHTTP2 = slices.Contains(own.TLS.NextProtos, "h2")
	return t, nil
}

func (t *Transport) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := Dial(ctx, network, address, t.cfg)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// RoundTrip carries out a request, over an attested connection or not at all.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		if r.Body != nil {
			_ = r.Body.Close() // the caller's rule for RoundTrip
		}
		return nil, fmt.Errorf("tlsbinding: %q is not https: there would be no attestation", r.URL.Scheme)
	}
	var used connUsed
	response, err := t.inner.RoundTrip(r.WithContext(used.trace(r.Context())))
	if err != nil {
		return nil, err
	}
	if sessionOf(used.conn()) == nil {
		return nil, errors.Join(errors.New("tlsbinding: the answer came over a connection that is not attested"), response.Body.Close())
	}
	response.Request = r.WithContext(ConnContext(r.Context(), used.conn()))
	return response, nil
}

// connUsed is the connection that a request went over, once that is known. When
// net/http repeats a request it is the last one that counts.
type connUsed struct {
	mu   sync.Mutex
	last net.Conn
}

func (u *connUsed) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.last = info.Conn
	}})
}

func (u *connUsed) conn() net.Conn {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last
}

// CloseIdleConnections closes what is not in use.
func (t *Transport) CloseIdleConnections() { t.inner.CloseIdleConnections() }
