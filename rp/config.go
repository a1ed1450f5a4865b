// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/veraison/attested-tls/internal/apihttp"
	"github.com/veraison/attested-tls/rp/ear"
)

// Config has what a client of a Veraison deployment can be told beyond its URL
// and its keys. The zero value speaks TLS, trusts the system's roots, sends no
// credentials, and limits each step to 30 seconds.
type Config struct {
	// TLS is for the connection to the verifier; it is cloned. Where it says
	// InsecureSkipVerify, what is said of InsecureHTTP holds.
	TLS *tls.Config
	// Transport replaces the client's own, and is not given TLS then. It must
	// not follow redirects or send credentials of its own.
	Transport http.RoundTripper

	// Username and Password are for HTTP's basic authentication.
	Username, Password string
	// TokenSource gives OAuth2 access tokens. One is kept until it expires.
	TokenSource oauth2.TokenSource
	// UserAgent is put before the client's own.
	UserAgent string

	// Timeout limits each NewSession and each Appraise, repetitions and polls
	// included, beside the caller's context; zero means 30 seconds.
	Timeout time.Duration
	// VerifierID is the identity that results have to name; what is empty in
	// it may be anything.
	VerifierID ear.VerifierID
	// Skew is how far the verifier's clock may be off; zero means
	// ear.DefaultSkew.
	Skew time.Duration

	// InsecureHTTP allows a verifier URL without TLS, loopback included: other
	// users of a machine can listen on its ports too. Whoever sits in between
	// can then choose the nonce, and with it have old evidence accepted as new,
	// and can read credentials.
	InsecureHTTP bool

	// Logger is told what is wrong with the verifier, at level warn, and of
	// every request, at level debug; nil is silence. Evidence, results, nonces
	// and credentials are never logged.
	Logger *slog.Logger
}

const (
	defaultTimeout = 30 * time.Second
	deleteTimeout  = 5 * time.Second
	userAgent      = "attested-tls-rp"

	// Connections that are kept for later, so that a server does not dial for
	// each of its own peers.
	maxIdle     = 64
	idleTimeout = 90 * time.Second
)

func (cfg *Config) check() error {
	switch {
	case cfg.Transport != nil && cfg.TLS != nil:
		return errors.New("both Transport and TLS are given")
	case cfg.TokenSource != nil && cfg.Username != "":
		return errors.New("both TokenSource and Username are given")
	case cfg.Password != "" && cfg.Username == "":
		return errors.New("a Password without Username")
	case strings.Contains(cfg.Username, ":"): // RFC 7617, section 2
		return errors.New("a Username with a colon")
	case cfg.Timeout < 0 || cfg.Skew < 0:
		return errors.New("a duration is negative")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// transport is the given one or the client's own.
func (cfg *Config) transport() http.RoundTripper {
	if cfg.Transport != nil {
		return cfg.Transport
	}
	return apihttp.Transport(cfg.TLS, maxIdle, idleTimeout)
}
