// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package apihttp

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ParseBase reads a service's URL, which may have a path where a proxy puts
// the deployment below one, and gives it in one spelling (see Normalize). The
// service's name is for the errors.
func ParseBase(service, text string, insecureHTTP bool) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the %s's URL cannot be parsed", service) // it may hold a password
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Opaque != "":
		return nil, fmt.Errorf("the %s's URL %q is not one of https", service, u.Redacted())
	case u.Scheme == "http" && !insecureHTTP:
		return nil, fmt.Errorf("the %s's URL %q is without TLS, which Config.InsecureHTTP does not allow", service, u.Redacted())
	case u.User != nil:
		return nil, fmt.Errorf("credentials in the %s's URL: give them in Config", service)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the %s's URL %q has a query or fragment", service, u.Redacted())
	}
	Normalize(u)
	return u, nil
}

// Normalize gives a service's URL one spelling: the host in lower case, no
// default port (RFC 3986, sections 6.2.2.1 and 6.2.3) and no slash at the end.
func Normalize(u *url.URL) {
	// A zone in an IPv6 address is a name of this machine's, and has its case.
	if !strings.Contains(u.Host, "%") {
		u.Host = strings.ToLower(u.Host)
	}
	if u.Port() == "" || u.Port() == defaultPort(u) {
		u.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
}

// Endpoint is a URL below the base.
func Endpoint(base *url.URL, path, query string) *url.URL {
	u := *base
	u.Path += path
	u.RawQuery = query
	return &u
}

// Resolve reads the Location in an answer of from, which has to stay with the
// origin of base: what is sent there may be secret.
func Resolve(service string, base, from *url.URL, location string) (*url.URL, error) {
	if location == "" {
		return nil, errors.New("no Location")
	}
	u, err := from.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("unreadable Location %.200q", location)
	}
	if u.Scheme != base.Scheme || !sameHost(u, base) || u.User != nil || u.Opaque != "" {
		return nil, fmt.Errorf("the Location %.200q is not of the %s's origin, %s://%s", u.Redacted(), service, base.Scheme, base.Host)
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

func sameHost(a, b *url.URL) bool {
	return strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return defaultPort(u)
}

func defaultPort(u *url.URL) string {
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// WithoutURL takes the URL off an error: it may repeat what is not for a log,
// and adds nothing.
func WithoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
