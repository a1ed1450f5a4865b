// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/veraison/attested-tls/rp"
)

// waiting is a session of a server that waits for a client's evidence, and has
// one of the server's places. Any ClientHello opens one, and a client may stop
// there: so there are no more than places, and none waits longer than Timeout.
type waiting struct {
	rp.Session
	limit time.Duration
	timer *time.Timer
	// end closes the session and frees its place, the first time.
	end func()
}

// open opens a session if there is a place. ctx is the handshake's: it ends
// with the handshake, however that ends, and the session with it.
func (s *Server) open(ctx context.Context) (*waiting, error) {
	select {
	case s.places <- struct{}{}:
	default:
		return nil, busyError(cap(s.places))
	}
	r := s.side.relying
	session, err := r.open(ctx)
	if err != nil {
		<-s.places
		return nil, err
	}
	w := &waiting{Session: session, limit: r.timeout, end: sync.OnceFunc(func() {
		session.Close()
		<-s.places
	})}
	w.timer = time.AfterFunc(w.limit, w.end)
	context.AfterFunc(ctx, func() {
		w.timer.Stop()
		w.end()
	})
	return w, nil
}

// arrived stops the clock: the appraisal has its own.
func (w *waiting) arrived(ctx context.Context) error {
	if w.timer.Stop() {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fmt.Errorf("%s's evidence came later than %v after its nonce: %w", theClient, w.limit, context.DeadlineExceeded)
}
