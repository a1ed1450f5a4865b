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
	"strings"
	"time"

	"github.com/veraison/attested-tls/internal/apihttp"
)

// client sends requests to one origin, and takes answers within limits.
type client struct {
	base  *url.URL
	http  *http.Client
	cfg   Config
	token *apihttp.TokenCache
}

func newClient(base *url.URL, cfg Config) *client {
	return &client{
		base: base,
		cfg:  cfg,
		http: &http.Client{
			Transport:     cfg.transport(),
			CheckRedirect: apihttp.NoRedirects, // see once
		},
		token: apihttp.NewTokenCache(cfg.TokenSource),
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
	return apihttp.Endpoint(c.base, path, query)
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
		if sleepErr := apihttp.Sleep(ctx, wait); sleepErr != nil {
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
		return nil, fmt.Errorf("%s: %w", r.operation, apihttp.WithoutURL(err))
	}
	// Also where it fails: an unread body costs the connection, no more.
	defer resp.Body.Close()
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return nil, protocolf(r.operation, "redirected (HTTP %d) to %.200q, which is not followed", resp.StatusCode, resp.Header.Get("Location"))
	}
	if resp.ContentLength > int64(r.limit) {
		return nil, protocolf(r.operation, "the answer has %d bytes, more than %d", resp.ContentLength, r.limit)
	}
	body, err := apihttp.ReadAll(resp.Body, resp.ContentLength, r.limit)
	switch {
	case errors.Is(err, apihttp.ErrTooLong):
		return nil, protocolf(r.operation, "the answer has more than %d bytes", r.limit)
	case err != nil:
		return nil, fmt.Errorf("%s: reading the answer: %w", r.operation, err)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		c.token.Drop()
	}
	a := &answer{
		status:     resp.StatusCode,
		location:   resp.Header.Get("Location"),
		body:       body,
		retryAfter: apihttp.ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		a.date = date
	}
	return a, nil
}

const service = "verifier"

// resolve reads a Location, which has to stay with the verifier: what is sent
// there is evidence and credentials.
func (c *client) resolve(from *url.URL, location string) (*url.URL, error) {
	return apihttp.Resolve(service, c.base, from, location)
}
