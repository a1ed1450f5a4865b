// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/veraison/attested-tls/rp/tlsbinding/internal/frame"
)

// mediaTypeFrames is what requests and answers of a later attestation over HTTP
// are made of (docs/PROTOCOL.md, section 8).
const mediaTypeFrames = "application/vnd.veraison.attested-tls"

// maxMessage is the size of such a message in bytes: an authenticator and a
// request.
const maxMessage = 160 << 10

// ErrOtherConnection says that the halves of an attestation over HTTP came over
// different connections: the answer is for the one that asked.
var ErrOtherConnection = errors.New("the answer is for another connection")

// httpState is what a server remembers of a connection between the halves.
type httpState struct {
	asked atomic.Pointer[request]
	// attesting says that the client's request is being answered.
	attesting atomic.Bool
	// end ends the contexts of the requests on the connection.
	end atomic.Pointer[context.CancelCauseFunc]
}

// errAttesting says that a client asks before it has its last answer: it would
// take the places of others at the TPM.
var errAttesting = errors.New("a request on this connection is being answered already")

// NewReattestHandler is the server's half of attesting again over HTTP, to be
// registered at a path that clients know (Transport.Reattest). It attests to the
// client, has the client attest, or both, as in the handshake of the connection
// that carries the request, and for that connection alone. It works for HTTP/1.1
// and HTTP/2, behind HookServer.
//
// When the client's attestation fails, the client is told why, the connection is
// closed, and RequireAttested refuses what comes over it meanwhile.
func NewReattestHandler() http.Handler { return http.HandlerFunc(serveReattest) }

func serveReattest(w http.ResponseWriter, r *http.Request) {
	s := sessionOf(connOf(r.Context()))
	switch {
	case s == nil:
		http.Error(w, "this needs an attested connection", http.StatusForbidden)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "only POST is for attestation", http.StatusMethodNotAllowed)
		return
	case r.Header.Get("Content-Type") != mediaTypeFrames:
		http.Error(w, "the body has to be "+mediaTypeFrames, http.StatusUnsupportedMediaType)
		return
	}
	limit := orDefault(s.cfg.Timeout, DefaultTimeout)
	// Where the connection has no deadlines the server's own limits have to do.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(limit))
	frames, err := frame.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage), 2)
	if err != nil {
		http.Error(w, "the body is no message: "+err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	answer, err := s.serveFrames(ctx, frames)
	switch {
	case errors.Is(err, ErrOtherConnection):
		http.Error(w, err.Error(), http.StatusConflict)
		return
	case errors.Is(err, errAttesting):
		http.Error(w, err.Error(), http.StatusTooManyRequests)
		return
	case err != nil:
		answer = []frame.Frame{s.end(err)}
		w.Header().Set("Connection", "close")
	}
	var body bytes.Buffer
	if err := frame.Write(&body, answer...); err != nil {
		http.Error(w, "no answer could be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaTypeFrames)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body.Bytes()) // the client is gone if this fails
}

// end gives the peer up: nothing of the connection counts any more, and it is
// closed when the peer has had the time to read why.
func (s *session) end(err error) frame.Frame {
	s.forget()
	time.AfterFunc(farewell, func() { s.link.kill(err) })
	if s.cfg.Logger != nil {
		s.cfg.Logger.Info("attesting again failed", "remote", s.link.RemoteAddr().String(), "error", err)
	}
	body := frame.RefusalBody{Code: uint16(RefusedInternal), Reason: RefusedInternal.String()}
	var mine *Error
	if errors.As(err, &mine) && mine.code != 0 {
		body = frame.RefusalBody{Code: uint16(mine.code), Reason: mine.told}
	}
	return frame.Frame{Type: frame.Refusal, Body: body.Marshal()}
}

// serveFrames answers a client: its request, or its answer to ours.
func (s *session) serveFrames(ctx context.Context, frames []frame.Frame) ([]frame.Frame, error) {
	const step = "attesting again"
	var answer []frame.Frame
	if len(frames) == 1 {
		switch f := frames[0]; f.Type {
		case frame.Authenticator:
			return s.serveAuthenticator(ctx, f)
		case frame.Refusal:
			return nil, refusal(step, f)
		case frame.Request:
			if !s.http.attesting.CompareAndSwap(false, true) {
				return nil, errAttesting
			}
			message, err := s.attest(ctx, f.Body)
			s.http.attesting.Store(false)
			if err != nil {
				return nil, err
			}
			answer = append(answer, frame.Frame{Type: frame.Authenticator, ID: f.ID, Body: message})
			frames = nil
		}
	}
	if len(frames) > 0 {
		return nil, protocolError(step, errors.New("neither a request, nor an answer to one"))
	}
	if s.demand != (Offer{}) {
		mine, err := s.askAgain(serverRequestID)
		if err != nil {
			return nil, err
		}
		s.http.asked.Store(mine)
		answer = append(answer, frame.Frame{Type: frame.Request, ID: mine.id, Body: mine.message})
	}
	if len(answer) == 0 {
		return []frame.Frame{{Type: frame.Accept}}, nil
	}
	return answer, nil
}

// askAgain makes a request to a peer that was attested: it has to have the same
// key still.
func (s *session) askAgain(id uint16) (*request, error) {
	p := s.peer.Load()
	if p == nil {
		return nil, fail("attesting again", RefusedAppraisal, errors.New("the peer was refused before"))
	}
	r, err := s.newRequest(id)
	if err != nil {
		return nil, hide("making a request", RefusedInternal, err)
	}
	r.spki = p.Certificates[0].RawSubjectPublicKeyInfo
	return r, nil
}

func (s *session) serveAuthenticator(ctx context.Context, f frame.Frame) ([]frame.Frame, error) {
	mine := s.http.asked.Swap(nil)
	if mine == nil {
		return nil, ErrOtherConnection
	}
	defer func() { mine.opened.close() }()
	if f.ID != mine.id {
		return nil, protocolError("attesting again", fmt.Errorf("identifier %d, want %d", f.ID, mine.id))
	}
	if limit := orDefault(s.cfg.Timeout, DefaultTimeout); time.Since(mine.made) > limit {
		return nil, fail("attesting again", RefusedTimeout, fmt.Errorf("the answer comes later than %v after the request", limit))
	}
	p, err := s.verify(ctx, mine, f.Body)
	if err != nil {
		return nil, err
	}
	s.attested(p)
	return []frame.Frame{{Type: frame.Accept}}, nil
}

// Reattest has the server attest again, the client, or both, as in the
// handshake, over one of the connections that there are to the URL's host, or a
// new one. The URL is that of a NewReattestHandler. What is returned speaks for
// the connection that carried it, and for no other: with HTTP/2 that is usually
// the only one; with HTTP/1.1 the others live on their own attestations, until
// Requirement.MaxAge.
//
// When it fails the connection is closed, and both sides know the reason. The
// peer is nil if nothing is required of the server.
func (t *Transport) Reattest(ctx context.Context, url string) (*Peer, error) {
	// Between the halves another request may take the connection.
	const attempts = 5
	for attempt := 1; ; attempt++ {
		p, err := t.reattest(ctx, url)
		if !errors.Is(err, ErrOtherConnection) || attempt == attempts {
			return p, err
		}
	}
}

// KeepAttested calls Reattest again and again until ctx ends or it fails, and
// returns why. It is for one connection, as Reattest is. An attestation that is
// under way when ctx ends comes to its own end first: one that is broken off
// costs the connection.
func (t *Transport) KeepAttested(ctx context.Context, url string, every time.Duration) error {
	if every <= 0 {
		return fmt.Errorf("tlsbinding: an interval of %v, want more than 0", every)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if _, ok := wait(ctx, ticker.C); !ok {
			return context.Cause(ctx)
		}
		if _, err := t.Reattest(context.WithoutCancel(ctx), url); err != nil {
			return err
		}
	}
}

func (t *Transport) reattest(ctx context.Context, url string) (*Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, orDefault(t.cfg.Timeout, DefaultTimeout))
	defer cancel()
	// One at a time: with HTTP/2 two would share a connection, and the second
	// have the server forget the first.
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	first := &asking{}
	frames, err := t.exchange(ctx, url, first)
	s, mine := first.last()
	if mine != nil {
		defer func() { mine.opened.close() }()
	}
	if err == nil && (s == nil || mine == nil && s.demand != (Offer{})) {
		// A server may well answer before it has read what was asked.
		err = protocolError("attesting again", errors.New("the server answers before it is asked"))
	}
	if err != nil {
		if s != nil {
			s.link.kill(err)
		}
		return nil, err
	}
	p, answer, err := s.answerFrames(ctx, mine, frames)
	if err != nil {
		t.giveUp(ctx, url, s, err)
		return nil, err
	}
	if answer != nil {
		frames, err = t.exchange(ctx, url, &telling{session: s, frame: *answer})
		if err == nil && (len(frames) != 1 || frames[0].Type != frame.Accept) {
			err = protocolError("attesting again", errors.New("no verdict"))
		}
		if err != nil {
			if !errors.Is(err, ErrOtherConnection) {
				s.link.kill(err)
			}
			return nil, err
		}
	}
	s.attested(p)
	return s.peer.Load(), nil
}

// giveUp closes the connection after the server was told why, if it can be.
func (t *Transport) giveUp(ctx context.Context, url string, s *session, err error) {
	var refused *RefusalError
	farewellCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if f := s.end(err); !errors.As(err, &refused) {
		// The answer does not matter, nor whether there is one.
		_, _ = t.exchange(farewellCtx, url, &telling{session: s, frame: f})
	}
	s.link.kill(err)
}

// answerFrames reads what the server says to the first half.
func (s *session) answerFrames(ctx context.Context, mine *request, frames []frame.Frame) (*Peer, *frame.Frame, error) {
	const step = "attesting again"
	var p *Peer
	for i, f := range frames {
		switch {
		case f.Type == frame.Refusal:
			return nil, nil, refusal(step, f)
		case f.Type == frame.Accept && mine == nil && len(frames) == 1:
			return nil, nil, nil
		case f.Type == frame.Authenticator && i == 0 && mine != nil && f.ID == mine.id:
			var err error
			if p, err = s.verify(ctx, mine, f.Body); err != nil {
				return nil, nil, err
			}
			mine = nil
		case f.Type == frame.Request && i == len(frames)-1 && mine == nil:
			message, err := s.attest(ctx, f.Body)
			if err != nil {
				return nil, nil, err
			}
			return p, &frame.Frame{Type: frame.Authenticator, ID: f.ID, Body: message}, nil
		default:
			return nil, nil, protocolError(step, fmt.Errorf("unexpected %v", f.Type))
		}
	}
	if mine != nil {
		return nil, nil, protocolError(step, errors.New("the server does not attest"))
	}
	return p, nil, nil
}

// half is what a client sends. It is made when the connection is known: a
// request is for one connection, and an answer for the one that was asked on.
type half interface {
	body(s *session) ([]byte, error)
}

// asking is the first half.
type asking struct {
	session atomic.Pointer[session]
	mine    atomic.Pointer[request]
}

func (a *asking) last() (*session, *request) { return a.session.Load(), a.mine.Load() }

func (a *asking) body(s *session) ([]byte, error) {
	a.mine.Store(nil)
	a.session.Store(s)
	if s.demand == (Offer{}) {
		return nil, nil
	}
	mine, err := s.askAgain(clientRequestID)
	if err != nil {
		return nil, err
	}
	a.mine.Store(mine)
	return frame.Frame{Type: frame.Request, ID: mine.id, Body: mine.message}.Append(nil)
}

// telling is the second half.
type telling struct {
	session *session
	frame   frame.Frame
}

func (t *telling) body(s *session) ([]byte, error) {
	if s != t.session {
		return nil, ErrOtherConnection
	}
	return t.frame.Append(nil)
}

// exchange posts a half, over whatever connection net/http takes.
func (t *Transport) exchange(ctx context.Context, url string, h half) ([]frame.Frame, error) {
	const step = "attesting again"
	var used connUsed
	body := func() (io.ReadCloser, error) {
		return &lazy{make: func() ([]byte, error) {
			s := sessionOf(used.conn())
			if s == nil {
				return nil, errors.New("the connection is not attested")
			}
			return h.body(s)
		}}, nil
	}
	first, _ := body()
	r, err := http.NewRequestWithContext(used.trace(ctx), http.MethodPost, url, first)
	if err != nil {
		return nil, &Error{Step: step, Err: err}
	}
	r.GetBody = body
	r.Header.Set("Content-Type", mediaTypeFrames)
	if r.URL.Scheme != "https" {
		return nil, &Error{Step: step, Err: fmt.Errorf("%q is not https", r.URL.Scheme)}
	}
	response, err := t.inner.RoundTrip(r)
	if err != nil {
		if errors.Is(err, ErrOtherConnection) {
			return nil, ErrOtherConnection
		}
		return nil, &Error{Step: step, Err: err}
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusConflict:
		// A connection whose answer was not read to its end is not used again.
		_, _ = io.CopyN(io.Discard, response.Body, 256)
		return nil, ErrOtherConnection
	case response.StatusCode != http.StatusOK:
		text, _ := io.ReadAll(io.LimitReader(response.Body, 256))
		return nil, &Error{Step: step, Err: fmt.Errorf("HTTP status %d: %q", response.StatusCode, text)}
	case response.Header.Get("Content-Type") != mediaTypeFrames:
		return nil, protocolError(step, fmt.Errorf("an answer of type %.100q", response.Header.Get("Content-Type")))
	}
	frames, err := frame.ReadAll(io.LimitReader(response.Body, maxMessage), 2)
	if err != nil {
		return nil, protocolError(step, err)
	}
	for _, f := range frames {
		if f.Type == frame.Refusal {
			return nil, refusal(step, f)
		}
	}
	return frames, nil
}

// lazy is a body that is made when it is read, which is when the connection is
// known.
type lazy struct {
	make func() ([]byte, error)
	made *bytes.Reader
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.made == nil {
		data, err := l.make()
		if err != nil {
			return 0, err
		}
		l.made = bytes.NewReader(data)
	}
	return l.made.Read(p)
}

func (l *lazy) Close() error { return nil }
