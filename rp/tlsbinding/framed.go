// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/veraison/attested-tls/internal/expauth"
	"github.com/veraison/attested-tls/rp/tlsbinding/internal/frame"
)

// Conn is an attested connection on which either side can have the other attest
// again while application data flows (docs/PROTOCOL.md, section 7). Both sides
// choose it at the start.
//
// An attestation speaks for the connection on which it is made and for nothing
// else, and for the key with which the peer attested first. One that fails
// closes the connection, with the reason at both ends.
//
// What the peer sends is read ahead, up to 256 KiB: an application that does not
// read for longer holds up later attestations, too.
type Conn struct {
	s    *session
	in   inbox
	ends sync.WaitGroup

	ctx    context.Context // of what runs in the background
	cancel context.CancelCauseFunc

	out  sync.Mutex    // one frame at a time
	turn chan struct{} // one request at a time

	mu      sync.Mutex
	failure error
	deaf    error // why nothing can be written, before it is the failure
	nextID  uint16
	waiting map[uint16]chan frame.Frame
	serving int  // the peer's requests that are being answered
	writing bool // the application's data is on its way
	writeBy time.Time
}

// maxServing is how many of the peer's requests are answered at a time: the peer
// may have its answer, and ask again, before it is known here that it has it.
const maxServing = 2

// maxAhead is how much application data is read ahead, in bytes.
const maxAhead = 256 << 10

// DialFramed is Dial for a Conn.
func DialFramed(ctx context.Context, network, address string, cfg *Config) (*Conn, error) {
	conn, cfg, err := dial(ctx, network, address, cfg)
	if err != nil {
		return nil, err
	}
	return ClientFramed(ctx, conn, cfg)
}

// ClientFramed is Client for a Conn.
func ClientFramed(ctx context.Context, conn net.Conn, cfg *Config) (*Conn, error) {
	s, err := handshake(ctx, expauth.Client, conn, cfg, true)
	if err != nil {
		return nil, err
	}
	return newConn(s), nil
}

// ServerFramed is Server for a Conn.
func ServerFramed(ctx context.Context, conn net.Conn, cfg *Config) (*Conn, error) {
	s, err := handshake(ctx, expauth.Server, conn, cfg, true)
	if err != nil {
		return nil, err
	}
	return newConn(s), nil
}

func newConn(s *session) *Conn {
	s.link.session.Store(s)
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &Conn{
		s: s, in: newInbox(maxAhead), ctx: ctx, cancel: cancel, turn: make(chan struct{}, 1),
		nextID: firstID(s.self), waiting: map[uint16]chan frame.Frame{},
	}
	s.link.atExpiry(func() { c.refuse(fail(string(StepPeer), RefusedTimeout, ErrStale)) })
	c.ends.Go(c.receive)
	if c.reattests() {
		c.ends.Go(func() { c.reattestEvery(s.cfg.Requirement.ReattestEvery) })
	}
	return c
}

// reattests says whether the peer is attested again without anybody's doing.
func (c *Conn) reattests() bool {
	return c.s.demand != (Offer{}) && c.s.cfg.Requirement.ReattestEvery > 0
}

// Peer is what is known of the peer, by its last attestation; nil if it had
// nothing to attest.
func (c *Conn) Peer() *Peer { return c.s.peer.Load() }

// NetConn is the TLS connection. Whoever reads from it or writes to it breaks
// the framing.
func (c *Conn) NetConn() net.Conn { return c.s.conn }

// ConnectionState is that of the TLS connection.
func (c *Conn) ConnectionState() tls.ConnectionState { return c.s.conn.ConnectionState() }

// Read reads application data. After the connection failed it says why.
func (c *Conn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write writes application data.
func (c *Conn) Write(p []byte) (n int, err error) {
	for first := true; first || n < len(p); first = false {
		if err := c.failed(); err != nil {
			return n, err
		}
		chunk := p[n:min(len(p), n+frame.Data.MaxBody())]
		if len(chunk) == 0 {
			return n, nil
		}
		if err := c.writeData(chunk); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			switch {
			case c.failure != nil:
				err = c.failure
			case c.deaf != nil:
				err = c.deaf
			}
			return n, err
		}
		n += len(chunk)
	}
	return n, nil
}

// writeData writes within the application's deadline, which is for nothing else.
func (c *Conn) writeData(p []byte) error {
	c.out.Lock()
	defer c.out.Unlock()
	c.mu.Lock()
	if c.failure != nil || c.deaf != nil || !c.writeBy.IsZero() && !time.Now().Before(c.writeBy) {
		c.mu.Unlock()
		return os.ErrDeadlineExceeded // Write knows a better reason, if there is one
	}
	c.writing = true
	_ = c.s.conn.SetWriteDeadline(c.writeBy) // a connection that is closed says so itself
	c.mu.Unlock()
	err := frame.Write(c.s.conn, frame.Frame{Type: frame.Data, Body: p})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	if c.failure == nil && c.deaf == nil {
		_ = c.s.conn.SetWriteDeadline(time.Time{})
	}
	return err
}

func (c *Conn) write(f frame.Frame) error {
	c.out.Lock()
	defer c.out.Unlock()
	return frame.Write(c.s.conn, f)
}

// writeBefore is write for what the connection cannot live without: a peer that
// does not read ends it, when ctx does.
func (c *Conn) writeBefore(ctx context.Context, step string, f frame.Frame) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		c.deaf = &Error{Step: step, Err: context.Cause(ctx)}
		c.mu.Unlock()
		_ = c.s.conn.SetWriteDeadline(longAgo)
	})
	err := c.write(f)
	switch {
	case !stop():
		return &Error{Step: step, Err: context.Cause(ctx)} // nothing can be written any more
	case err != nil:
		return &Error{Step: step, Err: err}
	}
	return nil
}

// Close closes the connection, and waits until nothing is done for it any more.
func (c *Conn) Close() error {
	c.fail(net.ErrClosed)
	c.cancel(net.ErrClosed)
	err := c.s.conn.Close()
	c.ends.Wait()
	return err
}

// LocalAddr is this end's address.
func (c *Conn) LocalAddr() net.Addr { return c.s.conn.LocalAddr() }

// RemoteAddr is the other end's address.
func (c *Conn) RemoteAddr() net.Addr { return c.s.conn.RemoteAddr() }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline limits calls of Read, and nothing else.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(t)
	return nil
}

// SetWriteDeadline limits calls of Write. One that it interrupts breaks the
// connection, as it does in crypto/tls.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeBy = t
	if c.writing && c.failure == nil && c.deaf == nil {
		return c.s.conn.SetWriteDeadline(t)
	}
	return nil
}

func (c *Conn) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// fail ends the connection for the application. The first reason counts.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.failure == nil {
		c.failure = err
	}
	err = c.failure
	c.mu.Unlock()
	if err != net.ErrClosed {
		c.s.forget()
	}
	c.in.end(err)
}

// Reattest has the peer attest again, now. On failure the connection is closed,
// and both sides' reads and writes fail with the reason. Calls take turns.
func (c *Conn) Reattest(ctx context.Context) (*Peer, error) {
	if c.s.demand == (Offer{}) {
		return nil, errors.New("tlsbinding: nothing is required of this peer")
	}
	if err := c.failed(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, orDefault(c.s.cfg.Timeout, DefaultTimeout))
	defer cancel()
	own := ctx
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(c.ctx, func() { end(context.Cause(c.ctx)) })()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	p, err := c.reattest(ctx, own)
	if err != nil {
		// What the connection failed with meanwhile is the better reason.
		if cause := c.failed(); cause != nil {
			return nil, cause
		}
		if errors.Is(err, errGone) {
			return nil, err // what it sent before may be read still
		}
		c.refuse(err)
		return nil, err
	}
	c.s.attested(p)
	return p, nil
}

// errGone says that the peer has closed the connection in good order.
var errGone = errors.New("the peer has closed the connection")

// reattest is one attestation. ctx ends with the connection, too; own, in which
// things are sent, does not: a peer that has said its last may still listen.
func (c *Conn) reattest(ctx, own context.Context) (*Peer, error) {
	answers := make(chan frame.Frame, 1)
	c.mu.Lock()
	c.nextID += 2
	id := c.nextID
	c.waiting[id] = answers
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
	}()
	r, err := c.s.newRequest(id)
	if err != nil {
		return nil, hide("making a request", RefusedInternal, err)
	}
	known := c.Peer()
	if known == nil {
		return nil, errGone // the connection has failed meanwhile
	}
	if err := c.s.announced(ctx, r, known.Certificates[0].RawSubjectPublicKeyInfo); err != nil {
		return nil, hide(string(StepSession), RefusedInternal, err)
	}
	defer func() { r.opened.close() }()
	const sending = "sending a request"
	if err := c.writeBefore(own, sending, frame.Frame{Type: frame.Request, ID: id, Body: r.message}); err != nil {
		// Whether the peer has said goodbye, or why it went, is still to be
		// read.
		select {
		case <-c.ctx.Done():
			return nil, &Error{Step: sending, Err: context.Cause(c.ctx)}
		case <-ctx.Done():
		case <-time.After(farewell):
		}
		return nil, err
	}
	end := c.s.cfg.Trace.begin(StepPeer)
	answer, ok := wait(ctx, answers)
	if !ok {
		end(ctx.Err())
		return nil, hide(string(StepPeer), RefusedTimeout, context.Cause(ctx))
	}
	end(nil)
	p, err := c.s.verify(ctx, r, answer.Body)
	if err != nil {
		return nil, err
	}
	if err := c.writeBefore(own, "sending the verdict", frame.Frame{Type: frame.Accept, ID: id}); err != nil {
		return nil, err
	}
	return p, nil
}

func (c *Conn) reattestEvery(interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if _, ok := wait(c.ctx, ticker.C); !ok || c.ctx.Err() != nil {
			return
		}
		if _, err := c.Reattest(c.ctx); err != nil {
			return // Reattest has closed the connection
		}
	}
}

// refuse tells the peer why, and closes the connection when it has had the time
// to read it.
func (c *Conn) refuse(err error) {
	c.fail(err)
	// Whatever the peer and the application do meanwhile.
	time.AfterFunc(2*farewell, func() { c.s.link.kill(err) })
	var mine *Error
	if errors.As(err, &mine) && mine.code != 0 {
		body := frame.RefusalBody{Code: uint16(mine.code), Reason: mine.told}
		_ = c.s.conn.SetWriteDeadline(time.Now().Add(farewell))
		if c.write(frame.Frame{Type: frame.Refusal, Body: body.Marshal()}) == nil {
			_ = c.s.conn.CloseWrite() // the connection ends anyway
		}
		_ = c.s.conn.SetReadDeadline(time.Now().Add(farewell))
		return // receive closes the connection when the peer did, or it is time
	}
	c.s.link.kill(err)
}

// receive reads what the peer sends until the connection ends.
func (c *Conn) receive() {
	err := c.receiveAll()
	var mine *Error
	if errors.As(err, &mine) && mine.code != 0 {
		c.refuse(err)
		// As in the first exchange: what is unread would have the connection
		// reset, and the reason lost.
		_, _ = io.CopyN(io.Discard, c.s.conn, maxFarewell)
	}
	if err != io.EOF {
		c.fail(err)
		c.cancel(err)
	} else {
		c.in.end(io.EOF) // the peer has said all it had to; this side may go on
		c.cancel(errGone)
		if c.reattests() {
			// But not for longer than the peer could be attested again: it
			// could have all that is sent, and never be asked.
			c.mu.Lock()
			c.deaf = &Error{Step: "reading", Err: errGone}
			c.mu.Unlock()
			c.s.link.kill(errGone)
		}
	}
	if failure := c.failed(); failure != nil {
		c.s.link.kill(failure)
	}
}

func (c *Conn) receiveAll() error {
	const step = "reading"
	for {
		f, err := frame.Read(c.s.conn)
		var format *frame.FormatError
		switch {
		case err == io.EOF:
			return err
		case errors.As(err, &format), errors.Is(err, frame.ErrMagic):
			return protocolError(step, err)
		case err != nil:
			return &Error{Step: step, Err: err}
		}
		switch f.Type {
		case frame.Data:
			if err := c.in.add(f.Body); err != nil {
				// The application is done. What attestation there is goes on.
				continue
			}
		case frame.Request:
			if err := c.serve(f); err != nil {
				return err
			}
		case frame.Authenticator:
			c.mu.Lock()
			answers := c.waiting[f.ID]
			delete(c.waiting, f.ID)
			c.mu.Unlock()
			if answers == nil {
				return protocolError(step, fmt.Errorf("an authenticator with identifier %d, which nothing waits for", f.ID))
			}
			answers <- f
		case frame.Accept:
		case frame.Refusal:
			return refusal(step, f)
		default:
			return protocolError(step, fmt.Errorf("%v after the start", f.Type))
		}
	}
}

// serve answers the peer's request beside the application data. One at a time:
// a peer that asks again before it has its answer breaks the protocol.
func (c *Conn) serve(f frame.Frame) error {
	const step = "reading the peer's request"
	if f.ID%2 != firstID(c.s.self.Peer())%2 {
		return protocolError(step, fmt.Errorf("identifier %d is not one of the peer's", f.ID))
	}
	c.mu.Lock()
	busy := c.serving == maxServing
	if !busy {
		c.serving++
	}
	c.mu.Unlock()
	if busy {
		return protocolError(step, errors.New("a request before the last one is answered"))
	}
	c.ends.Go(func() {
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.serving--
		}()
		limit := orDefault(c.s.cfg.Timeout, DefaultTimeout)
		ctx, cancel := context.WithTimeout(c.ctx, limit)
		defer cancel()
		answer, err := c.s.attest(ctx, f.Body)
		if err == nil {
			// As in reattest, not within c.ctx.
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			err = c.writeBefore(ctx, "sending the authenticator", frame.Frame{Type: frame.Authenticator, ID: f.ID, Body: answer})
		}
		if err != nil && c.ctx.Err() == nil {
			c.refuse(err)
		}
	})
	return nil
}
