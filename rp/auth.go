// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"golang.org/x/oauth2"
)

// authorize puts the verifier's credentials on a request. Requests go to the
// verifier's origin alone: see resolve.
func (c *client) authorize(ctx context.Context, req *http.Request) error {
	if c.cfg.Username != "" {
		req.SetBasicAuth(c.cfg.Username, c.cfg.Password)
	}
	if c.token.source == nil {
		return nil
	}
	token, err := c.token.get(ctx)
	if err != nil {
		return err
	}
	token.SetAuthHeader(req)
	return nil
}

// tokenError says that there is no access token to be had. Asking the verifier
// again is no help.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "getting access token: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// tokenCache keeps an access token while it is valid, and asks for one at a
// time. An oauth2.TokenSource takes no context: who waits for it can give up,
// it cannot.
type tokenCache struct {
	source oauth2.TokenSource

	mu     sync.Mutex
	token  *oauth2.Token
	flight *tokenFlight
}

type tokenFlight struct {
	done  chan struct{}
	token *oauth2.Token // both are set when done is closed
	err   error
}

func (t *tokenCache) get(ctx context.Context) (*oauth2.Token, error) {
	t.mu.Lock()
	if t.token.Valid() {
		defer t.mu.Unlock()
		return t.token, nil
	}
	f := t.flight
	if f == nil {
		f = &tokenFlight{done: make(chan struct{})}
		t.flight = f
		go t.fetch(f)
	}
	t.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, &tokenError{context.Cause(ctx)}
	}
	if f.err != nil {
		return nil, &tokenError{f.err}
	}
	return f.token, nil
}

func (t *tokenCache) fetch(f *tokenFlight) {
	f.token, f.err = t.source.Token()
	if f.err == nil && !f.token.Valid() {
		f.err = errors.New("the token is empty or has expired")
	}
	t.mu.Lock()
	t.flight = nil
	if f.err == nil {
		t.token = f.token
	}
	t.mu.Unlock()
	close(f.done)
}

// drop forgets a token that the verifier does not take.
func (t *tokenCache) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token = nil
}
