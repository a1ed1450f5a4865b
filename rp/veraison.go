// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/veraison/attested-tls/internal/apihttp"
	"github.com/veraison/attested-tls/rp/ear"
)

// Veraison is a Veraison deployment as a Verifier, through its
// challenge-response API.
//
// Opening a session is tried four times, and so is each poll for a result, within
// the caller's deadline and Config.Timeout, with growing pauses and no sooner
// than the verifier asks for. Evidence is sent once: when its answer is lost,
// Appraise fails, and the peer has to be asked for evidence anew.
//
// A session that is done with, in whatever way, is deleted at the verifier in
// the background, with a time limit of its own; one that cannot be deleted
// expires there by itself.
type Veraison struct {
	client *client
	keys   ear.KeySource

	// What goes on behind the callers' backs, and how much of it at most.
	mu         sync.Mutex
	closed     bool
	background sync.WaitGroup
	deleting   chan struct{}
}

var _ Verifier = (*Veraison)(nil)

const maxDeleting = 64

// NewVeraison makes a client for the deployment at baseURL. Its results have to
// be signed with one of keys: ear.Pin has keys that are known beforehand,
// Discover asks the deployment for them. Nothing is sent yet.
func NewVeraison(baseURL string, keys ear.KeySource, cfg Config) (*Veraison, error) {
	if keys == nil {
		return nil, errors.New("no source of verifier keys is given")
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	base, err := apihttp.ParseBase(service, baseURL, cfg.InsecureHTTP)
	if err != nil {
		return nil, err
	}
	v := &Veraison{client: newClient(base, cfg), deleting: make(chan struct{}, maxDeleting)}
	v.keys = keys
	if d, ok := keys.(discover); ok {
		if v.keys, err = v.discovered(d); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// Keys is the source of the verifier's keys, for results that come by other
// ways (passports).
func (v *Veraison) Keys() ear.KeySource { return v.keys }

// NewSession opens a session. See Verifier.
func (v *Veraison) NewSession(ctx context.Context, nonce []byte) (Session, error) {
	started := time.Now()
	s, err := v.newSession(ctx, nonce)
	if err != nil {
		tracesOf(ctx).sessionOpened(nil, time.Since(started), err)
		return nil, err
	}
	tracesOf(ctx).sessionOpened(s, time.Since(started), nil)
	return s, nil
}

// Close waits until the sessions that are done with are deleted, or have had
// the time for it, and gives the connections back. Sessions that are still open
// are not closed, and cannot be appraised any more.
func (v *Veraison) Close() error {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.background.Wait()
	v.client.http.CloseIdleConnections()
	return nil
}

func (v *Veraison) checkOpen() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return fmt.Errorf("the verifier's client: %w", ErrClosed)
	}
	return nil
}

// spawn runs f in the background, unless the client is closed.
func (v *Veraison) spawn(f func()) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return false
	}
	v.background.Go(f)
	return true
}
