// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package apihttp

import (
	"crypto/tls"
	"net/http"
	"time"
)

// Transport makes a client's own transport, with a copy of conf. It takes
// proxies from the environment as Go's default one does, and keeps up to
// maxIdle connections for idleTimeout.
func Transport(conf *tls.Config, maxIdle int, idleTimeout time.Duration) *http.Transport {
	own := new(tls.Config)
	if conf != nil {
		own = conf.Clone()
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     own,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        maxIdle,
		MaxIdleConnsPerHost: maxIdle,
		IdleConnTimeout:     idleTimeout,
		// A few bytes must not become many.
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// NoRedirects is for http.Client.CheckRedirect: a redirect would take data and
// credentials elsewhere, and the APIs have none.
func NoRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
