// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/veraison/attested-tls/internal/apihttp"
)

// Config has what a client can be told beyond its URL. The zero value speaks
// TLS, trusts the system's roots, sends no credentials, and limits each call to
// a minute.
type Config struct {
	// TLS is for the connection to the service; it is cloned.
	TLS *tls.Config
	// Transport replaces the client's own, and is not given TLS then. It must
	// not follow redirects, send credentials of its own or repeat requests.
	Transport http.RoundTripper

	// Username and Password are for HTTP's basic authentication.
	Username, Password string
	// TokenSource gives OAuth2 access tokens. One is kept until it expires, or
	// until the service does not take it.
	TokenSource oauth2.TokenSource
	// UserAgent is put before the client's own.
	UserAgent string

	// Timeout limits each call, repetitions and polls included, beside the
	// caller's context; zero means one minute.
	Timeout time.Duration

	// InsecureHTTP allows a service's URL without TLS, loopback included. Whoever
	// sits in between can then read the credentials, and provision what he
	// likes.
	InsecureHTTP bool

	// Logger is told of repetitions, at level warn, and of every request, at
	// level debug; nil is silence. Endorsements and credentials are never
	// logged.
	Logger *slog.Logger
}

const (
	service        = "provisioning service"
	userAgent      = "attested-tls-provisioning"
	defaultTimeout = time.Minute
	deleteTimeout  = 5 * time.Second

	maxIdle = 64
	// Short: a gateway that closes an idle connection at the moment of a
	// submission leaves its outcome unknown.
	idleTimeout = 5 * time.Second
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
	case cfg.Timeout < 0:
		return errors.New("negative Timeout")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (cfg *Config) transport() http.RoundTripper {
	if cfg.Transport != nil {
		return cfg.Transport
	}
	return apihttp.Transport(cfg.TLS, maxIdle, idleTimeout)
}
