// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// client sends requests to one origin, and takes answers within limits.
type client struct {
	base  *url.URL
	http  *http.Client
	cfg   Config
	token tokenCache
}

func newClient(base *url.URL, cfg Config) *client {
	return &client{
		base: base,
		cfg:  cfg,
		http: &http.Client{
			Transport: cfg.transport(),
			// A redirect would take evidence and credentials elsewhere; the API
			// has none. See once.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		token: tokenCache{source: cfg.TokenSource},
	}
}

// request is what is asked of the verifier.
type request struct {
	operation string
	method    string
	url       *url.URL
	accept    string
	evidence  *Evidence
	limit     int // of the answer's body
	attempts  int
	// once: the verifier must not be asked again once it may have been.
	once bool
}

// answer is what came back.
type answer struct {
	status     int
	location   string
	date       time.Time // zero if the verifier does not say
	retryAfter time.Duration
	body       []byte
}

// maxAnswer bounds the answers that do not repeat evidence.
const maxAnswer = 1 << 20

// endpoint is a URL of the API.
func (c *client) endpoint(path, query string) *url.URL {
	u := *c.base
	u.Path += path
	u.RawQuery = query
	return &u
}

// do sends a request, repeats it where that is safe and makes sense, and
// returns the answer, whatever its status.
func (c *client) do(ctx context.Context, r *request) (*answer, error) {
	observers := tracesOf(ctx)
	for attempt := 1; ; attempt++ {
		started := time.Now()
		a, err := c.once(ctx, r)
		took, status := time.Since(started), 0
		if a != nil {
			status = a.status
		}
		observers.requestDone(r.operation, attempt, status, took, err)
		if c.cfg.Logger.Enabled(ctx, slog.LevelDebug) {
			c.cfg.Logger.DebugContext(ctx, "asked the verifier", "operation", r.operation, "attempt", attempt, "status", status, "took", took, "error", err)
		}
		if attempt >= r.attempts || !r.repeatable(a, err) {
			return a, err
		}
		reason := err
		if reason == nil {
			reason = a.problem(r.operation)
		}
		wait := backoff(attempt, a)
		// There is nothing to be had from waiting for the deadline.
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return a, err
		}
		observers.waiting(r.operation, wait, reason)
		c.cfg.Logger.WarnContext(ctx, "the verifier failed, asking again", "operation", r.operation, "attempt", attempt, "wait", wait, "error", reason)
		if sleepErr := sleep(ctx, wait); sleepErr != nil {
			return nil, fmt.Errorf("%s: %w, after %w", r.operation, sleepErr, reason)
		}
	}
}

// once sends a request once. Errors name the operation.
func (c *client) once(ctx context.Context, r *request) (*answer, error) {
	req := (&http.Request{
		Method: r.method,
		URL:    r.url,
		Host:   r.url.Host,
		Header: make(http.Header, 4),
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if r.evidence != nil {
		// With GetBody the transport takes another connection where the one it
		// had kept was closed before anything of this was sent, and only then.
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.evidence.Data)), nil }
		req.Body, _ = req.GetBody()
		req.ContentLength = int64(len(r.evidence.Data))
		req.Header.Set("Content-Type", r.evidence.MediaType)
	}
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	req.Header.Set("User-Agent", strings.TrimSpace(c.cfg.UserAgent+" "+userAgent))
	if err := c.authorize(ctx, req); err != nil {
		return nil, fmt.Errorf("%s: %w", r.operation, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.operation, withoutURL(err))
	}
	// Also where it fails: an unread body costs the connection, no more.
	defer resp.Body.Close()
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return nil, protocolf(r.operation, "redirected (HTTP %d) to %.200q, which is not followed", resp.StatusCode, resp.Header.Get("Location"))
	}
	if resp.ContentLength > int64(r.limit) {
		return nil, protocolf(r.operation, "the answer has %d bytes, more than %d", resp.ContentLength, r.limit)
	}
	body, err := readAll(resp.Body, resp.ContentLength, r.limit)
	switch {
	case errors.Is(err, errTooLong):
		return nil, protocolf(r.operation, "the answer has more than %d bytes", r.limit)
	case err != nil:
		return nil, fmt.Errorf("%s: reading the answer: %w", r.operation, err)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		c.token.drop()
	}
	a := &answer{
		status:     resp.StatusCode,
		location:   resp.Header.Get("Location"),
		body:       body,
		retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		a.date = date
	}
	return a, nil
}

// withoutURL takes the URL off an error: it repeats the nonce and adds nothing.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

var errTooLong = errors.New("too long")

// readAll reads a body to its end, which lets the connection be used again, or
// to the limit.
func readAll(body io.Reader, length int64, limit int) ([]byte, error) {
	if length == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	if length > 0 {
		b.Grow(int(length) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(io.LimitReader(body, int64(limit)+1)); err != nil {
		return nil, err
	}
	if b.Len() > limit {
		return nil, errTooLong
	}
	return b.Bytes(), nil
}

// resolve reads a Location, which has to stay with the verifier: what is sent
// there is evidence and credentials.
func (c *client) resolve(from *url.URL, location string) (*url.URL, error) {
	if location == "" {
		return nil, errors.New("no Location")
	}
	u, err := from.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("unreadable Location %.200q", location)
	}
	if u.Scheme != c.base.Scheme || !sameHost(u, c.base) || u.User != nil || u.Opaque != "" {
		return nil, fmt.Errorf("the Location %.200q is not of the verifier's origin, %s://%s", u.Redacted(), c.base.Scheme, c.base.Host)
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

func sameHost(a, b *url.URL) bool {
	return strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// parseRetryAfter reads a Retry-After (RFC 9110, section 10.2.3); zero if there
// is none.
func parseRetryAfter(text string, now time.Time) time.Duration {
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}

// sleep waits, or returns why the context has ended.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
