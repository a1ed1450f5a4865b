// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"

	"github.com/veraison/attested-tls/internal/expauth"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/tlsbinding/internal/frame"
)

// hand is a peer that is driven by hand: TLS by this package, and then whatever
// frames a test says. It is for what no peer of this package would do.
type hand struct {
	*session
	t  testing.TB
	id uint16 // of the request to it
}

// facing runs one side of this package against a peer driven by hand, and
// returns what that side says. hand is the configuration of the other one.
func facing(t testing.TB, self expauth.Role, mine, others *Config, script func(*hand)) error {
	t.Helper()
	return facingIn(t, t.Context(), self, mine, others, script)
}

func facingIn(t testing.TB, ctx context.Context, self expauth.Role, mine, others *Config, script func(*hand)) error {
	t.Helper()
	c, s := pipe(t)
	if self == expauth.Server {
		c, s = s, c
	}
	result := make(chan error, 1)
	go func() {
		made, err := handshake(ctx, self, c, mine, false)
		if err == nil {
			err = made.conn.Close()
		}
		result <- err
	}()
	h := &hand{session: &session{cfg: others, self: self.Peer(), link: newLink(s)}, t: t, id: firstID(self)}
	require.NoError(t, h.secure(t.Context()))
	require.NoError(t, h.conn.SetDeadline(time.Now().Add(20*time.Second)))
	script(h)
	h.conn.Close()
	select {
	case err := <-result:
		return err
	case <-time.After(20 * time.Second):
		require.FailNow(t, "the side under test does not come to an end")
		return nil
	}
}

func (h *hand) say(frames ...frame.Frame) {
	h.t.Helper()
	require.NoError(h.t, frame.Write(h.conn, frames...))
}

func (h *hand) raw(data []byte) {
	h.t.Helper()
	_, err := h.conn.Write(data)
	require.NoError(h.t, err)
}

func (h *hand) hear(want frame.Type) frame.Frame {
	h.t.Helper()
	f, err := frame.Read(h.conn)
	require.NoError(h.t, err)
	if f.Type == frame.Refusal && want != frame.Refusal {
		require.FailNow(h.t, "refused", "%v", refusal("", f))
	}
	require.Equal(h.t, want, f.Type)
	return f
}

// hello is the frame that this package would send.
func (h *hand) hello(change ...func(*frame.HelloBody)) frame.Frame {
	h.t.Helper()
	body := frame.HelloBody{Accepts: ways(h.cfg.Requirement.offers())}
	if c := h.cfg.Credential; c != nil {
		body.Shows, body.Key = ways(c.offers), c.spki
	}
	for _, f := range change {
		f(&body)
	}
	data, err := body.Marshal()
	require.NoError(h.t, err)
	return frame.Frame{Type: frame.Hello, Body: data}
}

// greet exchanges hellos and, where the peer demands anything, takes its
// request. Its own request is made with ask.
func (h *hand) greet(own ...frame.Frame) (request []byte) {
	h.t.Helper()
	own = append([]frame.Frame{h.hello()}, own...)
	if h.self == expauth.Client {
		h.say(own...)
	}
	f := h.hear(frame.Hello)
	peers, err := frame.ParseHello(f.Body)
	require.NoError(h.t, err)
	if len(peers.Accepts) > 0 {
		f = h.hear(frame.Request)
		require.Equal(h.t, h.id, f.ID)
		request = f.Body
	}
	if h.self == expauth.Server {
		h.say(own...)
	}
	// As in exchange.agree.
	h.demand, err = choose(h.cfg.Requirement.offers(), offers(peers.Shows))
	require.NoError(h.t, err)
	if h.cfg.Credential != nil {
		h.show, err = choose(offers(peers.Accepts), h.cfg.Credential.offers)
		require.NoError(h.t, err)
	}
	return request
}

// ask makes a request of this side.
func (h *hand) ask() (*request, frame.Frame) {
	h.t.Helper()
	r, err := h.newRequest(firstID(h.self))
	require.NoError(h.t, err)
	return r, frame.Frame{Type: frame.Request, ID: r.id, Body: r.message}
}

func (h *hand) answer(authenticator []byte) frame.Frame {
	return frame.Frame{Type: frame.Authenticator, ID: h.id, Body: authenticator}
}

// refusal reads on until the peer refuses, and what it says then.
func (h *hand) refusal() *RefusalError {
	h.t.Helper()
	for {
		f, err := frame.Read(h.conn)
		require.NoError(h.t, err, "no refusal came")
		if f.Type == frame.Refusal {
			var refused *RefusalError
			require.ErrorAs(h.t, refusal("", f), &refused)
			return refused
		}
	}
}

// rest is what is read until the connection ends: frames, and the end.
func (h *hand) rest() (types []frame.Type, err error) {
	for {
		f, err := frame.Read(h.conn)
		if err != nil {
			return types, err
		}
		types = append(types, f.Type)
	}
}

// authenticator is RFC 9261, section 5.2, written out: it may have any
// extensions, and is signed with any key.
func (h *hand) authenticator(request []byte, certificate tls.Certificate, extensions ...expauth.Extension) []byte {
	h.t.Helper()
	return longhand(h.t, h.exporter, h.self, request, certificate, extensions...)
}

func longhand(t testing.TB, c *expauth.Connection, sender expauth.Role, request []byte, certificate tls.Certificate, extensions ...expauth.Extension) []byte {
	t.Helper()
	export := func(label string) []byte {
		out, err := c.Export("EXPORTER-"+sender.String()+" authenticator "+label, nil, c.Hash().Size())
		require.NoError(t, err)
		return out
	}
	sum := func(h crypto.Hash, parts ...[]byte) []byte {
		d := h.New()
		for _, p := range parts {
			d.Write(p)
		}
		return d.Sum(nil)
	}
	message := func(typ uint8, body func(*cryptobyte.Builder)) []byte {
		var b cryptobyte.Builder
		b.AddUint8(typ)
		b.AddUint24LengthPrefixed(body)
		return b.BytesOrPanic()
	}
	asked, err := expauth.ParseRequest(request)
	require.NoError(t, err)
	handshakeContext := export("handshake context")
	cert := message(11, func(b *cryptobyte.Builder) {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(asked.Context) })
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(certificate.Certificate[0]) })
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, e := range extensions {
					b.AddUint16(e.Type)
					b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(e.Data) })
				}
			})
		})
	})
	spaces := make([]byte, 64)
	for i := range spaces {
		spaces[i] = ' '
	}
	content := sum(crypto.SHA256, spaces, []byte("Exported Authenticator\x00"), sum(c.Hash(), handshakeContext, request, cert))
	key, ok := certificate.PrivateKey.(*ecdsa.PrivateKey)
	require.True(t, ok)
	signature, err := ecdsa.SignASN1(rand.Reader, key, content)
	require.NoError(t, err)
	verify := message(15, func(b *cryptobyte.Builder) {
		b.AddUint16(uint16(tls.ECDSAWithP256AndSHA256))
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(signature) })
	})
	mac := hmac.New(c.Hash().New, export("finished key"))
	mac.Write(sum(c.Hash(), handshakeContext, request, cert, verify))
	finished := message(20, func(b *cryptobyte.Builder) { b.AddBytes(mac.Sum(nil)) })
	return append(append(cert, verify...), finished...)
}

// cmwExtension is a cmw_attestation extension with this as its contents.
func cmwExtension(t testing.TB, record []byte) expauth.Extension {
	t.Helper()
	data, err := marshalCMW(record)
	require.NoError(t, err)
	return expauth.Extension{Type: extensionCMW, Data: data}
}

// evidence is what a machine shows for a request on this connection.
func (h *hand) evidence(m *machine, request []byte) []byte {
	h.t.Helper()
	r, err := expauth.ParseRequest(request)
	require.NoError(h.t, err)
	spki := h.cfg.Credential.spki
	nonce, err := binding(h.exporter, r.Context, spki)
	require.NoError(h.t, err)
	record, err := m.Attest(h.t.Context(), nonce)
	require.NoError(h.t, err)
	return record
}

// attesterFunc is an Attester.
type attesterFunc func(ctx context.Context, nonce []byte) ([]byte, error)

func (f attesterFunc) Attest(ctx context.Context, nonce []byte) ([]byte, error) {
	return f(ctx, nonce)
}

// attesting has a credential make its evidence otherwise.
func attesting(f attesterFunc) func(*CredentialConfig) {
	return func(cfg *CredentialConfig) { cfg.Attester = f }
}

// counting is a Verifier that knows how many sessions are open, and may do
// something else first.
type counting struct {
	rp.Verifier
	before           func(ctx context.Context) error // NewSession
	appraising       func(ctx context.Context, e *rp.Evidence) error
	open, ever, used atomic.Int32
}

func (v *counting) NewSession(ctx context.Context, nonce []byte) (rp.Session, error) {
	if v.before != nil {
		if err := v.before(ctx); err != nil {
			return nil, err
		}
	}
	s, err := v.Verifier.NewSession(ctx, nonce)
	if err != nil {
		return nil, err
	}
	v.open.Add(1)
	v.ever.Add(1)
	return &countedSession{Session: s, v: v}, nil
}

type countedSession struct {
	rp.Session
	v      *counting
	closed atomic.Bool
}

func (s *countedSession) Appraise(ctx context.Context, e rp.Evidence) (*rp.AttestationResult, error) {
	s.v.used.Add(1)
	if s.v.appraising != nil {
		if err := s.v.appraising(ctx, &e); err != nil {
			return nil, err
		}
	}
	return s.Session.Appraise(ctx, e)
}

func (s *countedSession) Close() error {
	if !s.closed.Swap(true) {
		s.v.open.Add(-1)
	}
	return s.Session.Close()
}

// noneOpen waits until each session was closed; ever is how many there were.
func (v *counting) noneOpen(t testing.TB, ever int32) {
	t.Helper()
	require.Eventually(t, func() bool { return v.open.Load() == 0 }, 10*time.Second, 5*time.Millisecond,
		"sessions of the verifier are left open")
	require.Equal(t, ever, v.ever.Load())
}

// refusedAs is the refusal that a peer was told.
func refusedAs(t testing.TB, err error, code RefusalCode, reason string) {
	t.Helper()
	var refused *RefusalError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, code, refused.Code, "%v", err)
	require.Contains(t, refused.Reason, reason)
}

// at is the step at which something failed.
func at(t testing.TB, err error, step Step) {
	t.Helper()
	var failed *Error
	require.ErrorAs(t, err, &failed)
	require.Equal(t, string(step), failed.Step, "%v", err)
}

// gone is a connection that ended without a word.
func gone(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	require.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), "%v", err)
}
