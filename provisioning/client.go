// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"net/http"
	"net/url"

	"github.com/veraison/attested-tls/internal/apihttp"
)

// Client speaks to the provisioning service of one deployment. It may be used by
// several goroutines.
type Client struct {
	base  *url.URL
	http  *http.Client
	cfg   Config
	token *apihttp.TokenCache
}

// New makes a client for the provisioning service at baseURL, which is https
// unless Config.InsecureHTTP is set and may have a path where a proxy puts the
// deployment below one. Nothing is sent yet.
func New(baseURL string, cfg Config) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	base, err := apihttp.ParseBase(service, baseURL, cfg.InsecureHTTP)
	if err != nil {
		return nil, err
	}
	return &Client{
		base:  base,
		cfg:   cfg,
		http:  &http.Client{Transport: cfg.transport(), CheckRedirect: apihttp.NoRedirects},
		token: apihttp.NewTokenCache(cfg.TokenSource),
	}, nil
}

// URL is the service's URL in one spelling, without a slash at its end.
func (c *Client) URL() string { return c.base.String() }

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }
