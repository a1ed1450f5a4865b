// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package rp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/veraison/attested-tls/rp/ear"
)

const (
	wellKnownPath     = "/.well-known/veraison/verification"
	wellKnownType     = "application/vnd.veraison.discovery+json"
	discoverOperation = "discovering verifier keys"
)

// How often the keys are looked for. A token that does not verify may come from
// anybody, and must not make us a load on the verifier.
const (
	refreshInterval = 30 * time.Second // between looks while there are keys
	failureInterval = time.Second      // after a look that failed, without keys
	keysFresh       = time.Hour        // then they are looked for again
	keysUsable      = 24 * time.Hour   // while that fails, until then
	staleWait       = 2 * time.Second  // how long usable keys wait for newer ones
)

// discover is a KeySource that NewVeraison replaces.
type discover struct{ insecure bool }

// Discover has NewVeraison take the verifier's keys from the verifier's own
// well-known endpoint, over TLS. Whoever can answer under the verifier's name
// then decides what is a result; ear.Pin trusts the key alone.
//
// The keys are cached: looked for again every hour, and when a result verifies
// under none of them, but then no more often than every 30 seconds. While the
// verifier cannot be reached they are used for a day.
func Discover() ear.KeySource { return discover{} }

// InsecureDiscoverOverHTTP is Discover over a connection that nobody
// authenticates: anybody on the network, and on loopback any user of the
// machine, can make results that verify. It is for trying things out.
func InsecureDiscoverOverHTTP() ear.KeySource { return discover{insecure: true} }

var errUnbound = errors.New("discovered keys are available from Veraison.Keys")

func (discover) Keys(context.Context) ([]ear.Key, error)    { return nil, errUnbound }
func (discover) Refresh(context.Context) ([]ear.Key, error) { return nil, errUnbound }

// discovered is the KeySource of a deployment's well-known endpoint.
type discovered struct {
	v *Veraison

	mu      sync.Mutex
	keys    []ear.Key // of the last look that succeeded, nil before
	fetched time.Time // when that was
	tried   time.Time // when the last one ended
	err     error     // of the last one
	flight  chan struct{}
}

func (v *Veraison) discovered(d discover) (*discovered, error) {
	cfg := &v.client.cfg
	if !d.insecure {
		if v.client.base.Scheme != "https" {
			return nil, errors.New("verifier keys are not discovered without TLS: see InsecureDiscoverOverHTTP")
		}
		if cfg.TLS != nil && cfg.TLS.InsecureSkipVerify && cfg.TLS.VerifyConnection == nil {
			return nil, errors.New("verifier keys are not discovered over unauthenticated TLS: see InsecureDiscoverOverHTTP")
		}
	}
	return &discovered{v: v}, nil
}

// warm starts to look for the keys before the first result needs them.
func (v *Veraison) warm(ctx context.Context) {
	if d, ok := v.keys.(*discovered); ok {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.keys == nil && d.flight == nil && time.Since(d.tried) > failureInterval {
			d.start(tracesOf(ctx))
		}
	}
}

// Keys returns the keys that were found last.
func (d *discovered) Keys(ctx context.Context) ([]ear.Key, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if age := time.Since(d.fetched); d.keys != nil && age <= keysUsable {
		if age > keysFresh && time.Since(d.tried) > refreshInterval {
			// A verifier that hangs must not hold up what can go on.
			short, cancel := context.WithTimeout(ctx, staleWait)
			defer cancel()
			d.look(short)
		}
		return d.keys, nil
	}
	if d.err == nil || time.Since(d.tried) > failureInterval {
		d.look(ctx)
	}
	return d.result(ctx)
}

// Refresh looks for newer keys unless that was done just now.
func (d *discovered) Refresh(ctx context.Context) ([]ear.Key, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.tried) > refreshInterval {
		d.look(ctx)
	}
	return d.result(ctx)
}

// look waits for a look for the keys that is under way, or a new one. d.mu is
// held before and after.
func (d *discovered) look(ctx context.Context) {
	flight := d.flight
	if flight == nil {
		flight = d.start(tracesOf(ctx))
	}
	if flight == nil {
		return
	}
	d.mu.Unlock()
	defer d.mu.Lock()
	select {
	case <-flight:
	case <-ctx.Done():
	}
}

// result is what is known now. d.mu is held.
func (d *discovered) result(ctx context.Context) ([]ear.Key, error) {
	switch {
	case d.keys != nil && time.Since(d.fetched) <= keysUsable:
		return d.keys, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", discoverOperation, context.Cause(ctx))
	case d.err != nil:
		return nil, d.err
	}
	return nil, fmt.Errorf("%s: %w", discoverOperation, ErrClosed)
}

// start looks for the keys, in the background: the caller who began it may give
// up while others still wait. d.mu is held.
func (d *discovered) start(observers traces) chan struct{} {
	done := make(chan struct{})
	if !d.v.spawn(func() {
		started := time.Now()
		keys, err := d.fetch()
		observers.keysFetched(len(keys), time.Since(started), err)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.tried, d.err, d.flight = time.Now(), err, nil
		if err == nil {
			d.keys, d.fetched = keys, d.tried
		} else {
			d.v.client.cfg.Logger.Warn("the verifier's keys cannot be had", "error", err)
		}
		close(done)
	}) {
		return nil
	}
	d.flight = done
	return done
}

func (d *discovered) fetch() ([]ear.Key, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d.v.client.cfg.Timeout)
	defer cancel()
	c := d.v.client
	a, err := c.do(ctx, &request{
		operation: discoverOperation,
		method:    http.MethodGet,
		url:       c.endpoint(wellKnownPath, ""),
		accept:    wellKnownType,
		limit:     maxAnswer,
		attempts:  attempts,
	})
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, a.problem(discoverOperation)
	}
	key, err := readWellKnown(a.body)
	if err != nil {
		return nil, &ProtocolError{Operation: discoverOperation, Err: err}
	}
	return []ear.Key{key}, nil
}

func readWellKnown(body []byte) (ear.Key, error) {
	var document struct {
		Key json.RawMessage `json:"ear-verification-key"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return ear.Key{}, fmt.Errorf("malformed document: %w", err)
	}
	if document.Key == nil {
		return ear.Key{}, errors.New("the document has no ear-verification-key")
	}
	return ear.ParseKey(document.Key)
}
