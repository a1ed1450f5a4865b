// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is the network connection below a TLS connection. It holds what is known
// of the connection, so that a *tls.Conn, which net/http insists on, leads to it
// (tls.Conn.NetConn), and it ends the connection when that is no longer true.
type link struct {
	net.Conn
	session atomic.Pointer[session]
	// heard is when the handshake last made progress, in nanoseconds since 1970,
	// and working how much this end does for it at the moment: together they
	// tell who is waiting for whom. Bytes alone are no progress, or one a second
	// would do.
	heard   atomic.Int64
	working atomic.Int32

	mu     sync.Mutex
	expiry *time.Timer
	stale  func() // what is done then, kill if nil
	cause  error
	closed bool
}

func newLink(conn net.Conn) *link {
	l := &link{Conn: conn}
	l.progress()
	return l
}

// progress says that the other end has done its part, as far as it could.
func (l *link) progress() { l.heard.Store(time.Now().UnixNano()) }

// work says that this end does something, until the result is called.
func (l *link) work() (done func()) {
	l.working.Add(1)
	return func() {
		l.progress()
		l.working.Add(-1)
	}
}

// silence is how long this end has waited for the other one; 0 while it works.
func (l *link) silence() time.Duration {
	if l.working.Load() > 0 {
		return 0
	}
	return time.Since(time.Unix(0, l.heard.Load()))
}

// NetConn is the connection below.
func (l *link) NetConn() net.Conn { return l.Conn }

// Read reads, or says why this side closed the connection.
func (l *link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	return n, l.because(err)
}

// Write writes, or says why this side closed the connection.
func (l *link) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	return n, l.because(err)
}

func (l *link) because(err error) error {
	if err == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return l.cause
	}
	return err
}

// Close closes the connection.
func (l *link) Close() error {
	l.mu.Lock()
	l.closed = true
	if l.expiry != nil {
		l.expiry.Stop()
	}
	l.mu.Unlock()
	return l.Conn.Close()
}

// kill closes the connection; whoever uses it is told why.
func (l *link) kill(cause error) {
	l.mu.Lock()
	if l.cause == nil && !l.closed {
		l.cause = cause
	}
	l.mu.Unlock()
	_ = l.Close() // nothing could be done about it
}

// expire has the connection killed unless it is called again in time.
func (l *link) expire(after time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
	case l.expiry == nil:
		l.expiry = time.AfterFunc(after, l.expired)
	default:
		l.expiry.Reset(after)
	}
}

// atExpiry has something else done than to kill the connection.
func (l *link) atExpiry(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stale = f
}

func (l *link) expired() {
	if s := l.session.Load(); s != nil {
		s.forget()
	}
	l.mu.Lock()
	f := l.stale
	l.mu.Unlock()
	if f == nil {
		l.kill(ErrStale)
		return
	}
	f()
}
