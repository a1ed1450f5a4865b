// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package apihttp

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/oauth2"
)

// TokenError says that there is no access token to be had. Asking the service
// again is no help.
type TokenError struct{ err error }

// Error says so.
func (e *TokenError) Error() string { return "getting access token: " + e.err.Error() }

// Unwrap returns the token source's error.
func (e *TokenError) Unwrap() error { return e.err }

// TokenCache keeps an access token while it is valid, and asks for one at a
// time. An oauth2.TokenSource takes no context: who waits for it can give up,
// it cannot.
type TokenCache struct {
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

// NewTokenCache makes a cache; it is nil without a source.
func NewTokenCache(source oauth2.TokenSource) *TokenCache {
	if source == nil {
		return nil
	}
	return &TokenCache{source: source}
}

// Get returns a token. Errors are *TokenError.
func (t *TokenCache) Get(ctx context.Context) (*oauth2.Token, error) {
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
		return nil, &TokenError{context.Cause(ctx)}
	}
	if f.err != nil {
		return nil, &TokenError{f.err}
	}
	return f.token, nil
}

func (t *TokenCache) fetch(f *tokenFlight) {
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

// Drop forgets a token that the service does not take.
func (t *TokenCache) Drop() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token = nil
}
