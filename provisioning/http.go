// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/veraison/attested-tls/internal/apihttp"
)

// request is what is asked of the service.
type request struct {
	operation string
	method    string
	url       *url.URL
	accept    string
	mediaType string // of the body
	body      []byte
	attempts  int
	// once: the service must not be asked again once it may have acted.
	once bool
}

// answer is what came back.
type answer struct {
	status     int
	location   string
	mediaType  string // without parameters; empty if there is none
	retryAfter time.Duration
	body       []byte
}

const (
	attempts  = 5
	maxAnswer = 1 << 20 // bytes of an answer's body
)

// sentError is an error after which the service may have the request.
type sentError struct{ err error }

func (e *sentError) Error() string { return e.err.Error() }
func (e *sentError) Unwrap() error { return e.err }

// do sends a request, repeats it where that is safe and makes sense, and
// returns the answer, whatever its status, and the number of attempts.
func (c *Client) do(ctx context.Context, r *request) (*answer, int, error) {
	renewed := false
	for attempt := 1; ; attempt++ {
		started := time.Now()
		a, err := c.once(ctx, r)
		if c.cfg.Logger.Enabled(ctx, slog.LevelDebug) {
			status := 0
			if a != nil {
				status = a.status
			}
			c.cfg.Logger.DebugContext(ctx, "asked the provisioning service", "operation", r.operation, "attempt", attempt,
				"status", status, "took", time.Since(started), "error", err)
		}
		if err == nil && a.status == http.StatusUnauthorized && c.token != nil && !renewed {
			// The service may have stopped taking a token before its time.
			c.token.Drop()
			renewed = true
			continue
		}
		if attempt >= r.attempts || !r.repeatable(a, err) {
			return a, attempt, err
		}
		reason, wait := err, apihttp.Backoff(attempt, 0)
		if err == nil {
			reason, wait = a.problem(r.operation), apihttp.Backoff(attempt, a.retryAfter)
		}
		// There is nothing to be had from waiting for the deadline.
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return a, attempt, err
		}
		c.cfg.Logger.WarnContext(ctx, "the provisioning service failed, asking again", "operation", r.operation,
			"attempt", attempt, "wait", wait, "error", reason)
		if sleepErr := apihttp.Sleep(ctx, wait); sleepErr != nil {
			return nil, attempt, fmt.Errorf("%s: %w, after %w", r.operation, sleepErr, reason)
		}
	}
}

// repeatable tells whether the outcome of a request may be another one the next
// time, and whether asking is safe.
func (r *request) repeatable(a *answer, err error) bool {
	if err != nil {
		var (
			sent     *sentError
			protocol *ProtocolError
			token    *apihttp.TokenError
		)
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
			errors.As(err, &protocol), errors.As(err, &token), isCertificateError(err):
			return false
		case errors.As(err, &sent):
			return !r.once
		}
		return true
	}
	if a.retryAfter > apihttp.MaxRetryAfter {
		return false
	}
	switch a.status {
	case http.StatusTooManyRequests:
		return true // RFC 6585, section 4: not processed
	case http.StatusServiceUnavailable:
		return !r.once || a.unavailable()
	case http.StatusInternalServerError:
		return !r.once || a.beforeSubmission()
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return !r.once // what the gateway has passed on is not known
	}
	return false
}

// once sends a request once. Errors name the operation.
func (c *Client) once(ctx context.Context, r *request) (*answer, error) {
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req := (&http.Request{
		Method: r.method,
		URL:    r.url,
		Host:   r.url.Host,
		Header: make(http.Header, 4),
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(traced)
	if r.body != nil {
		// With GetBody the transport takes another connection where the one it
		// had kept was closed before anything of this was sent, and only then.
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.body)), nil }
		req.Body, _ = req.GetBody()
		req.ContentLength = int64(len(r.body))
		// As the service announces it: since v0.0.2603 Veraison compares the
		// text.
		req.Header.Set("Content-Type", r.mediaType)
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
		err = fmt.Errorf("%s: %w", r.operation, apihttp.WithoutURL(err))
		// A transport that does not tell is one that may have sent it.
		if (connected.Load() || c.cfg.Transport != nil) && !isCertificateError(err) {
			err = &sentError{err}
		}
		return nil, err
	}
	// Also where it fails: an unread body costs the connection, no more.
	defer resp.Body.Close()
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return nil, protocolf(r.operation, "redirected (HTTP %d) to %.200q, which is not followed", resp.StatusCode, resp.Header.Get("Location"))
	}
	body, err := apihttp.ReadAll(resp.Body, min(resp.ContentLength, maxAnswer), maxAnswer)
	switch {
	case errors.Is(err, apihttp.ErrTooLong):
		return nil, &sentError{protocolf(r.operation, "the answer has more than %d bytes", maxAnswer)}
	case err != nil:
		return nil, &sentError{fmt.Errorf("%s: reading the answer: %w", r.operation, err)}
	}
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		mediaType = ""
	}
	return &answer{
		status:     resp.StatusCode,
		mediaType:  mediaType,
		location:   resp.Header.Get("Location"),
		body:       body,
		retryAfter: apihttp.ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}, nil
}

// authorize puts the credentials on a request. Requests go to the service's
// origin alone: see apihttp.Resolve.
func (c *Client) authorize(ctx context.Context, req *http.Request) error {
	if c.cfg.Username != "" {
		req.SetBasicAuth(c.cfg.Username, c.cfg.Password)
	}
	if c.token == nil {
		return nil
	}
	token, err := c.token.Get(ctx)
	if err != nil {
		return err
	}
	token.SetAuthHeader(req)
	return nil
}
