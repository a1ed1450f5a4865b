// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/veraison/attested-tls/internal/expauth"
)

// patience is how long the other end of a handshake may be silent when others
// wait for its place.
const patience = time.Second

// Listener accepts attested connections. Handshakes run beside Accept, so that
// a peer that is slow or silent holds up nobody.
type Listener struct {
	inner  net.Listener
	cfg    *Config
	framed bool

	ctx    context.Context // of the handshakes
	cancel context.CancelCauseFunc
	done   chan net.Conn
	slots  chan struct{}
	ended  chan struct{} // closed when nothing is accepted any more, and nothing under way
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	failure error
	pending map[*link]*pending
}

// pending is a handshake that is under way, and holds a place.
type pending struct {
	end     context.CancelCauseFunc
	evicted bool // its place is another's already
}

// NewListener makes the connections of another listener attested ones. What its
// Accept returns is a *tls.Conn whose peer has attested (PeerOf), as net/http
// wants for HTTP/2. The listener owns inner, and must be closed.
func NewListener(inner net.Listener, cfg *Config) (*Listener, error) {
	return newListener(inner, cfg, false)
}

// NewFramedListener is NewListener for connections that are attested again
// beside their application data: Accept returns a *Conn.
func NewFramedListener(inner net.Listener, cfg *Config) (*Listener, error) {
	return newListener(inner, cfg, true)
}

func newListener(inner net.Listener, cfg *Config, framed bool) (*Listener, error) {
	if err := cfg.check(expauth.Server); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	l := &Listener{
		inner: inner, cfg: cfg, framed: framed,
		ctx: ctx, cancel: cancel,
		done:    make(chan net.Conn),
		slots:   make(chan struct{}, orDefault(cfg.MaxHandshakes, DefaultMaxHandshakes)),
		ended:   make(chan struct{}),
		pending: map[*link]*pending{},
	}
	go l.serve()
	return l, nil
}

// Accept returns the next connection whose handshake succeeded. Those that fail
// are told to Config.Logger alone. After Close it is net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.done:
		return conn, nil
	case <-l.ended:
		l.mu.Lock()
		defer l.mu.Unlock()
		return nil, l.failure
	}
}

// Addr is the other listener's address.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Close stops to accept, ends the handshakes that are under way, and waits for
// their end. Connections that were accepted are not touched.
func (l *Listener) Close() error {
	err := l.stop()
	l.cancel(fmt.Errorf("the listener is %w", ErrClosed))
	<-l.ended
	return err
}

// Shutdown stops to accept new connections and lets the handshakes that are
// under way come to their end, for as long as ctx lasts. Accept has to be called
// meanwhile, and returns net.ErrClosed when nothing is left.
func (l *Listener) Shutdown(ctx context.Context) error {
	err := l.stop()
	select {
	case <-l.ended:
		return err
	case <-ctx.Done():
		return errors.Join(ctx.Err(), l.Close())
	}
}

func (l *Listener) stop() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.failure = net.ErrClosed
	l.mu.Unlock()
	return l.inner.Close()
}

// serve accepts until the inner listener fails for good.
func (l *Listener) serve() {
	defer close(l.ended)
	defer l.cancel(nil)
	defer l.wg.Wait()
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	for {
		conn, err := l.inner.Accept()
		if err != nil {
			// Such as too many open files: it passes.
			if temporary, ok := err.(interface{ Temporary() bool }); ok && temporary.Temporary() && l.ctx.Err() == nil {
				time.Sleep(pause)
				pause = min(2*pause, longest)
				continue
			}
			l.mu.Lock()
			if !l.closed {
				l.failure = err
			}
			l.mu.Unlock()
			return
		}
		pause = shortest
		if !l.room() {
			_ = conn.Close() // the listener is closed
			continue
		}
		l.wg.Go(func() { l.handshake(conn) })
	}
}

// room waits for a place; the peer that has been silent the longest loses its
// own when there is none.
func (l *Listener) room() bool {
	for {
		select {
		case l.slots <- struct{}{}:
			return true
		case <-l.ctx.Done():
			return false
		default:
		}
		wait := l.evict()
		select {
		case l.slots <- struct{}{}:
			return true
		case <-l.ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
}

// evict ends the handshake whose peer has been silent the longest, if that is
// long enough, and says when to look again.
func (l *Listener) evict() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var silent *link
	for other := range l.pending {
		if silent == nil || other.silence() > silent.silence() {
			silent = other
		}
	}
	if silent == nil {
		return patience / 10
	}
	if left := patience - silent.silence(); left > 0 {
		return max(left, time.Millisecond)
	}
	p := l.pending[silent]
	p.end(fmt.Errorf("%w: others wait, and this peer was silent for %v", ErrBusy, silent.silence().Round(time.Millisecond)))
	// The farewell is not waited for: else one newcomer would cost several
	// others their places.
	p.evicted = true
	<-l.slots
	delete(l.pending, silent)
	return 0
}

func (l *Listener) handshake(inner net.Conn) {
	ctx, cancel := context.WithCancelCause(l.ctx)
	defer cancel(nil)
	conn := newLink(inner)
	p := &pending{end: cancel}
	l.mu.Lock()
	l.pending[conn] = p
	l.mu.Unlock()
	s, err := handshake(ctx, expauth.Server, conn, l.cfg, l.framed)
	l.mu.Lock()
	delete(l.pending, conn)
	l.mu.Unlock()
	if !p.evicted { // nobody evicts what is not in the map
		defer func() { <-l.slots }()
	}
	if err != nil {
		return // handshake has told the logger and closed the connection
	}
	var accepted net.Conn = s.conn
	if l.framed {
		accepted = newConn(s)
	}
	select {
	case l.done <- accepted:
	case <-l.ctx.Done():
		_ = accepted.Close() // nobody is there to take it
	}
}
