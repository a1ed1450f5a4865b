// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/veraison/attested-tls/internal/expauth"
	"github.com/veraison/attested-tls/rp/tlsbinding/internal/frame"
)

// Identifiers of the first exchange's requests. Later ones of a side differ
// from it by an even number, so that those of the two sides never meet.
const (
	clientRequestID = 1
	serverRequestID = 2
)

func firstID(r expauth.Role) uint16 {
	if r == expauth.Client {
		return clientRequestID
	}
	return serverRequestID
}

const (
	// farewell is how long a side that refuses waits for the peer to take note.
	farewell = 2 * time.Second
	// hurry is the same for a side whose own time is up.
	hurry = 250 * time.Millisecond
	// maxFarewell is how much it reads meanwhile, in bytes: what the peer sent
	// before it knew.
	maxFarewell = 512 << 10
)

// longAgo is a deadline that ends what is waiting.
var longAgo = time.Unix(1, 0)

// exchange is the first attestation of a connection, in both directions
// (docs/PROTOCOL.md, section 6).
type exchange struct {
	*session
	framed  bool
	out     sync.Mutex
	heard   chan struct{} // closed when nothing more is read
	hearsay error         // what reading ended with
	// accepted says that the peer may take the exchange to be over: what this
	// side says from then on would be application data. Only a peer that broke
	// the protocol instead of ending the exchange does not.
	accepted atomic.Bool
}

// negotiate runs the exchange over a connection whose TLS handshake is done.
// The connection is closed on failure, after the peer was told why.
func (s *session) negotiate(ctx context.Context, framed bool) error {
	x := &exchange{session: s, framed: framed, heard: make(chan struct{})}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = s.conn.SetDeadline(longAgo)
	})
	err := x.run(ctx)
	limit := farewell
	if !stop() {
		<-ended // or it would take away the time to say why
		err = interrupted(ctx, err)
		limit = hurry
	}
	if err != nil {
		x.refuse(err, limit)
		return err
	}
	return s.conn.SetDeadline(time.Time{})
}

// interrupted names the context's end where that is the reason, rather than the
// deadline by which it was brought about.
func interrupted(ctx context.Context, err error) error {
	var at *Error
	step := string(StepVerdict)
	switch {
	case err == nil:
	case errors.As(err, &at) && errors.Is(at.Err, os.ErrDeadlineExceeded):
		step = at.Step
	default:
		return err
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrBusy) {
		return fail(step, RefusedBusy, cause)
	}
	return hide(step, RefusedTimeout, cause)
}

// refuse tells the peer why, unless it was the peer who ended the exchange, and
// closes the connection, after the limit at the latest.
func (x *exchange) refuse(err error, limit time.Duration) {
	// crypto/tls says goodbye for five seconds to a peer that does not listen.
	end := time.AfterFunc(limit, func() { _ = x.link.Close() })
	defer end.Stop()
	defer x.conn.Close()
	var mine *Error
	if !errors.As(err, &mine) || mine.code == 0 {
		return
	}
	if x.accepted.Load() && !x.framed && mine.code != RefusedProtocol {
		_ = x.link.Close() // a goodbye would be application data's, too
		return
	}
	_ = x.conn.SetDeadline(time.Now().Add(limit))
	body := frame.RefusalBody{Code: uint16(mine.code), Reason: mine.told}
	if frame.Write(x.conn, frame.Frame{Type: frame.Refusal, Body: body.Marshal()}) != nil || x.conn.CloseWrite() != nil {
		return
	}
	// A connection that is closed while something is unread is reset, and the
	// reason lost.
	_, _ = io.CopyN(io.Discard, x.conn, maxFarewell)
}

func (x *exchange) run(ctx context.Context) error {
	var mine *request
	var err error
	if x.cfg.Requirement != nil {
		if mine, err = x.newRequest(firstID(x.self)); err != nil {
			return hide("making a request", RefusedInternal, err)
		}
		defer func() { mine.opened.close() }()
	}
	// The client speaks first; the server shows nothing to those who do not
	// speak the protocol.
	if x.self == expauth.Client {
		if err := x.greet(mine, true); err != nil {
			return err
		}
	}
	peers, err := x.peersHello()
	if err != nil {
		return err
	}
	if x.self == expauth.Server {
		if err := x.greet(mine, len(peers.Accepts) > 0); err != nil {
			return err
		}
	}
	if err := x.agree(peers); err != nil {
		return err
	}
	return x.attestations(ctx, peers, mine)
}

// hello is what this side says of itself. Which key it has is told to those alone
// who can want to know.
func (x *exchange) hello(key bool) (frame.Frame, error) {
	h := frame.HelloBody{Framed: x.framed, Accepts: ways(x.cfg.Requirement.offers())}
	if c := x.cfg.Credential; c != nil {
		h.Shows = ways(c.offers)
		if key {
			h.Key = c.spki
		}
	}
	body, err := h.Marshal()
	if err != nil {
		return frame.Frame{}, hide("making a hello", RefusedInternal, err)
	}
	return frame.Frame{Type: frame.Hello, Body: body}, nil
}

func ways(offers []Offer) []frame.Way {
	list := make([]frame.Way, len(offers))
	for i, o := range offers {
		list[i] = frame.Way{Model: uint8(o.Model), Type: o.Type, Verifier: o.Verifier}
	}
	return list
}

func offers(list []frame.Way) []Offer {
	out := make([]Offer, len(list))
	for i, w := range list {
		out[i] = Offer{Model: Model(w.Model), Type: w.Type, Verifier: w.Verifier}
	}
	return out
}

func (x *exchange) greet(mine *request, key bool) error {
	hello, err := x.hello(key)
	if err != nil {
		return err
	}
	frames := []frame.Frame{hello}
	if mine != nil {
		frames = append(frames, frame.Frame{Type: frame.Request, ID: mine.id, Body: mine.message})
	}
	return x.write("sending the hello", frames...)
}

func (x *exchange) write(step string, frames ...frame.Frame) error {
	x.out.Lock()
	defer x.out.Unlock()
	if err := frame.Write(x.conn, frames...); err != nil {
		return &Error{Step: step, Err: err}
	}
	return nil
}

// peersHello waits for the peer to show that it speaks the protocol.
func (x *exchange) peersHello() (*frame.HelloBody, error) {
	const step = string(StepHello)
	end := x.cfg.Trace.begin(StepHello)
	limit := orDefault(x.cfg.HelloTimeout, DefaultHelloTimeout)
	ended := make(chan struct{})
	silent := time.AfterFunc(limit, func() {
		defer close(ended)
		_ = x.conn.SetReadDeadline(longAgo)
	})
	f, err := frame.Read(x.conn)
	x.link.progress()
	late := !silent.Stop()
	if late {
		<-ended
	}
	end(err)
	if err != nil {
		return nil, x.unheard(step, late, limit, err)
	}
	if f.Type == frame.Refusal {
		return nil, refusal(step, f)
	}
	if f.Type != frame.Hello || f.ID != 0 {
		return nil, protocolError(step, fmt.Errorf("%v with identifier %d, want hello with 0", f.Type, f.ID))
	}
	h, err := frame.ParseHello(f.Body)
	if err != nil {
		return nil, protocolError(step, err)
	}
	if late {
		return nil, x.unheard(step, late, limit, context.DeadlineExceeded)
	}
	return h, nil
}

// unheard tells a peer that speaks something else from one that is gone.
func (x *exchange) unheard(step string, late bool, limit time.Duration, err error) error {
	var format *frame.FormatError
	switch {
	case errors.Is(err, frame.ErrMagic):
		return &Error{Step: step, Err: fmt.Errorf("%w: %w", ErrNotSpoken, err)}
	case errors.As(err, &format):
		return protocolError(step, err)
	case late:
		return fail(step, RefusedTimeout, fmt.Errorf("%w: it said nothing for %v", ErrNotSpoken, limit))
	case errors.Is(err, io.EOF):
		return &Error{Step: step, Err: fmt.Errorf("%w: it closed the connection", ErrNotSpoken)}
	}
	return &Error{Step: step, Err: err}
}

// agree chooses how each side attests. Both come to the same result.
func (x *exchange) agree(peers *frame.HelloBody) error {
	const step = "negotiating"
	if peers.Framed != x.framed {
		return fail(step, RefusedFraming, fmt.Errorf("%w: this side %s, the peer %s", ErrFraming, framing(x.framed), framing(peers.Framed)))
	}
	shown, accepted := offers(peers.Shows), x.cfg.Requirement.offers()
	var err error
	if x.demand, err = choose(accepted, shown); err != nil {
		return disagree(step, &NegotiationError{Attester: "the peer", Shown: shown, Accepted: accepted, Err: err})
	}
	shown, accepted = nil, offers(peers.Accepts)
	if x.cfg.Credential != nil {
		shown = x.cfg.Credential.offers
	}
	if x.show, err = choose(accepted, shown); err != nil {
		return disagree(step, &NegotiationError{Attester: "this side", Shown: shown, Accepted: accepted, Err: err})
	}
	return nil
}

func disagree(step string, err *NegotiationError) error {
	code := RefusedEvidence
	if errors.Is(err, ErrNoCommonVerifier) {
		code = RefusedVerifier
	}
	return fail(step, code, err)
}

func framing(framed bool) string {
	if framed {
		return "wants application data in frames"
	}
	return "wants plain application data"
}

// attestations runs both directions at the same time: whichever side's TPM or
// verifier is slower, the other is not held up by it.
func (x *exchange) attestations(ctx context.Context, peers *frame.HelloBody, mine *request) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if mine != nil {
		if err := x.announced(ctx, mine, peers.Key); err != nil {
			return hide(string(StepSession), RefusedInternal, err)
		}
	}
	var (
		asked    = make(chan frame.Frame, 1) // the peer's request
		answered = make(chan frame.Frame, 1) // the peer's authenticator
		shown    = make(chan struct{})       // this side's authenticator is sent
		mu       sync.Mutex
		first    error
		wg       sync.WaitGroup
		verdict  *Peer
	)
	run := func(f func() error) {
		wg.Go(func() {
			err := f()
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			// When the time is up, what this side was doing is the reason,
			// rather than what it waited for meanwhile.
			if first == nil || errors.Is(first, os.ErrDeadlineExceeded) {
				first = err
			}
			cancel()
			_ = x.conn.SetReadDeadline(longAgo)
		})
	}
	run(func() error {
		x.hearsay = x.listen(mine, asked, answered)
		close(x.heard)
		return x.hearsay
	})
	run(func() error {
		if x.show == (Offer{}) {
			close(shown)
			return nil
		}
		f, ok := wait(ctx, asked)
		if !ok {
			return nil // whoever ended it says why
		}
		answer, err := x.attest(ctx, f.Body)
		if err != nil {
			return err
		}
		defer close(shown)
		return x.send("sending the authenticator", frame.Frame{Type: frame.Authenticator, ID: f.ID, Body: answer})
	})
	run(func() error {
		if mine != nil {
			f, ok := wait(ctx, answered)
			if !ok {
				return nil
			}
			var err error
			if verdict, err = x.verify(ctx, mine, f.Body); err != nil {
				return err
			}
		}
		if _, ok := wait(ctx, shown); !ok && ctx.Err() != nil {
			return nil
		}
		x.accepted.Store(true)
		return x.send("sending the verdict", frame.Frame{Type: frame.Accept})
	})
	wg.Wait()
	if first != nil {
		return first
	}
	if err := ctx.Err(); err != nil {
		return hide(string(StepVerdict), RefusedTimeout, context.Cause(ctx))
	}
	x.attested(verdict)
	return nil
}

// wait takes what is sent, or gives up; a closed channel is not a value.
func wait[T any](ctx context.Context, c <-chan T) (v T, ok bool) {
	select {
	case v, ok = <-c:
		return v, ok
	case <-ctx.Done():
		return v, false
	}
}

// send writes a frame. If it cannot, the peer may have said why before it went.
func (x *exchange) send(step string, f frame.Frame) error {
	err := x.write(step, f)
	if err == nil {
		return nil
	}
	var refused *RefusalError
	select {
	case <-x.heard:
		if errors.As(x.hearsay, &refused) {
			return x.hearsay
		}
	case <-time.After(farewell):
	}
	return err
}

// listen reads what the peer has to say, in its order, and nothing more.
func (x *exchange) listen(mine *request, asked, answered chan<- frame.Frame) error {
	if x.show != (Offer{}) {
		f, err := x.expect(StepQueue, frame.Request, firstID(x.self.Peer()))
		if err != nil {
			return err
		}
		asked <- f
	}
	if mine != nil {
		f, err := x.expect(StepPeer, frame.Authenticator, mine.id)
		if err != nil {
			return err
		}
		answered <- f
	}
	_, err := x.expect(StepVerdict, frame.Accept, 0)
	return err
}

// expect reads one frame, which is the next one or a refusal.
func (x *exchange) expect(step Step, want frame.Type, id uint16) (f frame.Frame, err error) {
	end := x.cfg.Trace.begin(step)
	defer func() { end(err) }()
	f, err = frame.Read(x.conn)
	x.link.progress()
	var format *frame.FormatError
	switch {
	case errors.As(err, &format), errors.Is(err, frame.ErrMagic):
		return f, protocolError(string(step), err)
	case errors.Is(err, io.EOF):
		return f, &Error{Step: string(step), Err: fmt.Errorf("the peer closed the connection: %w", io.ErrUnexpectedEOF)}
	case err != nil:
		return f, &Error{Step: string(step), Err: err}
	case f.Type == frame.Refusal:
		return f, refusal(string(step), f)
	case f.Type != want || f.ID != id:
		return f, protocolError(string(step), fmt.Errorf("%v with identifier %d, want %v with %d", f.Type, f.ID, want, id))
	}
	return f, nil
}

// refusal is the peer's, as an error.
func refusal(step string, f frame.Frame) error {
	r, err := frame.ParseRefusal(f.Body)
	if err != nil {
		return protocolError(step, err)
	}
	return &Error{Step: step, Err: &RefusalError{Code: RefusalCode(r.Code), Reason: r.Reason}}
}
