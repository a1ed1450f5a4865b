// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"bufio"
	"context"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/internal/expauth"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/tlsbinding/internal/frame"
)

// TestNegotiation: what both sides learn when they have nothing in common.
func TestNegotiation(t *testing.T) {
	w := newWorld(t, 2)
	m := w.machines[0]
	typed := func(name string) func(*CredentialConfig) {
		return func(cfg *CredentialConfig) { cfg.EvidenceType = name }
	}
	accepting := func(names ...string) func(*Requirement) {
		return func(r *Requirement) { r.EvidenceTypes = names }
	}
	for _, tt := range []struct {
		name       string
		credential *Credential
		demand     *Requirement
		kind       error
		told       []string // what both ends name
	}{
		{
			"no common type of evidence", m.credential(typed("application/a")), w.requirement(accepting("application/b", "application/c")),
			ErrNoCommonEvidence, []string{"application/a", "application/b", "application/c"},
		},
		{
			"evidence shown, passport demanded", m.credential(), w.requirement(w.byPassport),
			ErrNoCommonEvidence, []string{bundle.MediaType, `passport by "the verifier"`},
		},
		{
			"passport shown, evidence demanded", m.credential(w.passport(m)), w.requirement(),
			ErrNoCommonEvidence, []string{bundle.MediaType, `passport by "the verifier"`},
		},
		{
			"no verifier in common",
			m.credential(w.passport(m), func(cfg *CredentialConfig) { cfg.Verifiers = []string{"mine", "ours"} }),
			w.requirement(w.byPassport),
			ErrNoCommonVerifier, []string{`"mine"`, `"ours"`, `"the verifier"`},
		},
		{
			"no credential", nil, w.requirement(),
			ErrNoCommonEvidence, []string{"can show nothing", bundle.MediaType},
		},
	} {
		check := func(t *testing.T, demanding, attesting error) {
			for _, err := range []error{demanding, attesting} {
				require.ErrorIs(t, err, tt.kind)
				var failed *NegotiationError
				require.ErrorAs(t, err, &failed)
				require.Equal(t, tt.demand.offers(), failed.Accepted)
				if tt.credential != nil {
					require.Equal(t, tt.credential.offers, failed.Shown)
				}
				for _, name := range tt.told {
					require.ErrorContains(t, err, name)
				}
			}
			var theirs, own *NegotiationError
			require.ErrorAs(t, demanding, &theirs)
			require.Equal(t, "the peer", theirs.Attester)
			require.ErrorAs(t, attesting, &own)
			require.Equal(t, "this side", own.Attester)
		}
		t.Run(tt.name+", server", func(t *testing.T) {
			server := w.server(tt.credential, nil)
			if tt.credential == nil {
				// It needs a reason to be here at all.
				server.Requirement = w.requirement()
			}
			client := w.client(nil, tt.demand)
			if tt.credential == nil {
				client.Credential = w.machines[1].credential()
			}
			e := connect(t, client, server)
			check(t, e.clientErr, e.serverErr)
		})
		t.Run(tt.name+", client", func(t *testing.T) {
			client, server := w.client(tt.credential, nil), w.server(nil, tt.demand)
			if tt.credential == nil {
				client.Requirement = w.requirement()
				server.Credential = m.credential()
			}
			e := connect(t, client, server)
			check(t, e.serverErr, e.clientErr)
		})
	}
}

// TestPreference: the relying party's first that the attester has.
func TestPreference(t *testing.T) {
	w := newWorld(t, 1)
	m := w.machines[0]
	both := m.credential(w.passport(m), func(cfg *CredentialConfig) { cfg.Attester = m })
	for _, tt := range []struct {
		name string
		r    *Requirement
		want Model
	}{
		{"evidence before passports", w.requirement(func(r *Requirement) {
			v := r.Verifier
			w.byPassport(r)
			r.Verifier = v
		}), BackgroundCheck},
		{"passport if that is all", w.requirement(w.byPassport), PassportModel},
		{"evidence of a second type", w.requirement(func(r *Requirement) {
			r.EvidenceTypes = []string{"application/unheard-of", bundle.MediaType}
		}), BackgroundCheck},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := connect(t, w.client(nil, tt.r), w.server(both, nil))
			require.NoError(t, e.clientErr)
			p, ok := PeerOf(e.client)
			require.True(t, ok)
			require.Equal(t, tt.want, p.Offer.Model)
		})
	}
}

// TestNothingDemanded: two sides that both can attest, and neither asks, talk;
// neither knows anything of the other.
func TestNothingDemanded(t *testing.T) {
	w := newWorld(t, 2)
	e := connect(t, w.client(w.machines[1].credential(), nil), w.server(w.machines[0].credential(), nil))
	require.NoError(t, e.clientErr)
	require.NoError(t, e.serverErr)
	talk(t, e.client, e.server)
	_, known := PeerOf(e.client)
	require.False(t, known)
}

func TestFramingMismatch(t *testing.T) {
	w := newWorld(t, 1)
	client, server := w.client(nil, w.requirement()), w.server(w.machines[0].credential(), nil)
	for _, framed := range []expauth.Role{expauth.Client, expauth.Server} {
		t.Run("framed "+framed.String(), func(t *testing.T) {
			c, s := pipe(t)
			var serverErr error
			var wg sync.WaitGroup
			wg.Go(func() { _, serverErr = handshake(t.Context(), expauth.Server, s, server, framed == expauth.Server) })
			_, clientErr := handshake(t.Context(), expauth.Client, c, client, framed == expauth.Client)
			wg.Wait()
			for _, err := range []error{clientErr, serverErr} {
				require.ErrorIs(t, err, ErrFraming)
				require.ErrorContains(t, err, "frames")
			}
		})
	}
}

// TestNotSpoken: the peer's TLS is all right, and it says something else, or
// nothing.
func TestNotSpoken(t *testing.T) {
	w := newWorld(t, 1)
	client, server := w.client(nil, w.requirement()), w.server(w.machines[0].credential(), nil)
	for _, tt := range []struct {
		name  string
		other func(*hand)
		text  string
	}{
		{"HTTP", func(h *hand) {
			h.raw([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
			_, _ = h.rest()
		}, `begins with "GET "`},
		{"the preface of HTTP/2", func(h *hand) {
			h.raw([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
			_, _ = h.rest()
		}, `begins with "PRI "`},
		{"almost a frame", func(h *hand) {
			h.raw([]byte{0xe5, 0xa7, 0xa1})
			h.raw([]byte{0x9d})
			_, _ = h.rest()
		}, "begins with"},
		{"nothing", func(h *hand) { h.conn.Close() }, "closed the connection"},
	} {
		for _, self := range []expauth.Role{expauth.Client, expauth.Server} {
			t.Run(tt.name+" to the "+self.String(), func(t *testing.T) {
				mine, others := client, server
				if self == expauth.Server {
					mine, others = others, mine
				}
				err := facing(t, self, mine, others, tt.other)
				require.ErrorIs(t, err, ErrNotSpoken)
				require.NotErrorIs(t, err, ErrProtocol)
				require.ErrorContains(t, err, tt.text)
				at(t, err, StepHello)
			})
		}
	}
	t.Run("silence", func(t *testing.T) {
		for _, self := range []expauth.Role{expauth.Client, expauth.Server} {
			mine, others := *client, server
			if self == expauth.Server {
				mine, others = *server, client
			}
			mine.HelloTimeout = 50 * time.Millisecond
			start := time.Now()
			err := facing(t, self, &mine, others, func(h *hand) {
				require.Equal(t, RefusedTimeout, h.refusal().Code)
			})
			require.ErrorIs(t, err, ErrNotSpoken)
			require.ErrorContains(t, err, "50ms")
			require.Less(t, time.Since(start), 5*time.Second)
		}
	})
	t.Run("half a hello", func(t *testing.T) {
		mine := *server
		mine.HelloTimeout = 50 * time.Millisecond
		err := facing(t, expauth.Server, &mine, client, func(h *hand) {
			hello, err := h.hello().Append(nil)
			require.NoError(t, err)
			h.raw(hello[:len(hello)-1])
			require.Equal(t, RefusedTimeout, h.refusal().Code)
		})
		require.ErrorIs(t, err, ErrNotSpoken)
	})
	t.Run("no TLS", func(t *testing.T) {
		for _, self := range []expauth.Role{expauth.Client, expauth.Server} {
			a, b := pipe(t)
			mine := client
			if self == expauth.Server {
				mine = server
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				_, _ = b.Write([]byte("SSH-2.0-x\r\n"))
				_, _ = io.Copy(io.Discard, b)
			})
			_, err := handshake(t.Context(), self, a, mine, false)
			at(t, err, StepTLS)
			b.Close()
			wg.Wait()
		}
	})
}

// TestStrangers: net/http on the other side, as it is.
func TestStrangers(t *testing.T) {
	w := newWorld(t, 1)
	t.Run("an HTTPS server", func(t *testing.T) {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		stranger := &http.Server{Handler: http.NotFoundHandler()}
		var wg sync.WaitGroup
		wg.Go(func() { _ = stranger.Serve(tls.NewListener(inner, w.server(w.machines[0].credential(), nil).TLS)) })
		// It waits for the end of a line, which a frame seldom has.
		client := w.client(nil, w.requirement())
		client.HelloTimeout = 200 * time.Millisecond
		_, err = Dial(t.Context(), "tcp", inner.Addr().String(), client)
		require.ErrorIs(t, err, ErrNotSpoken)
		stranger.Close()
		wg.Wait()
	})
	t.Run("an HTTPS client", func(t *testing.T) {
		c, s := pipe(t)
		done := make(chan error, 1)
		go func() {
			_, err := Server(t.Context(), s, w.server(w.machines[0].credential(), nil))
			done <- err
		}()
		conn := tls.Client(c, w.client(nil, nil).TLS)
		request, err := http.NewRequest(http.MethodGet, "https://"+serverName, nil)
		require.NoError(t, err)
		require.NoError(t, request.Write(conn))
		_, err = http.ReadResponse(bufio.NewReader(conn), request)
		require.Error(t, err)
		require.ErrorIs(t, <-done, ErrNotSpoken)
	})
}

// TestBrokenFrames: each frame has one defect, at each place where one is read.
func TestBrokenFrames(t *testing.T) {
	w := newWorld(t, 2)
	client := w.client(w.machines[1].credential(), w.requirement())
	server := w.server(w.machines[0].credential(), w.requirement())
	header := func(version, typ byte, id uint16, length uint32) []byte {
		out := binary.BigEndian.AppendUint32(nil, frame.Magic)
		out = append(out, version, typ)
		out = binary.BigEndian.AppendUint16(out, id)
		return binary.BigEndian.AppendUint32(out, length)
	}
	defects := []struct {
		name string
		data []byte
		text string
	}{
		{"unknown version", header(2, 1, 0, 0), "version 2"},
		{"unknown type", header(1, 7, 0, 0), "type 7"},
		{"type 0", header(1, 0, 0, 0), "type 0"},
		{"hello too long", header(1, 1, 0, 16<<10+1), "at most 16384"},
		{"request too long", header(1, 2, 0, 16<<10+1), "at most 16384"},
		{"authenticator too long", header(1, 3, 0, 128<<10+1), "at most 131072"},
		{"accept with a body", header(1, 4, 0, 1), "at most 0"},
		{"refusal too long", header(1, 5, 0, 2<<10+1), "at most 2048"},
		{"longest", header(1, 3, 0, 1<<32-1), "at most 131072"},
		{"data", append(header(1, 6, 0, 1), 'x'), "data"},
	}
	for _, self := range []expauth.Role{expauth.Client, expauth.Server} {
		mine, others := client, server
		if self == expauth.Server {
			mine, others = others, mine
		}
		for _, tt := range defects {
			for _, place := range []Step{StepHello, StepQueue, StepPeer, StepVerdict} {
				t.Run(fmt.Sprintf("%s to the %v, %s", tt.name, self, place), func(t *testing.T) {
					err := facing(t, self, mine, others, func(h *hand) {
						upTo(h, place, w)
						h.raw(tt.data)
						refused := h.refusal()
						require.Equal(t, RefusedProtocol, refused.Code)
						require.Contains(t, refused.Reason, tt.text)
					})
					require.ErrorIs(t, err, ErrProtocol)
					require.ErrorContains(t, err, tt.text)
					at(t, err, place)
				})
			}
		}
		t.Run("cut short, "+self.String(), func(t *testing.T) {
			for _, place := range []Step{StepHello, StepQueue, StepPeer, StepVerdict} {
				for _, n := range []int{1, 4, 8, frame.HeaderSize, frame.HeaderSize + 1} {
					err := facing(t, self, mine, others, func(h *hand) {
						upTo(h, place, w)
						h.raw(append(header(1, 3, 0, 2), 0, 0)[:n])
						h.conn.Close()
					})
					require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%s, %d", place, n)
				}
			}
		})
	}
}

// upTo plays the peer's part of a mutual attestation, until the other side waits
// at a step.
func upTo(h *hand, place Step, w *world) {
	h.t.Helper()
	if place == StepHello {
		return
	}
	r, ask := h.ask()
	m := w.machines[0]
	if h.self == expauth.Client {
		m = w.machines[1]
	}
	var request []byte
	if place == StepQueue {
		request = h.greet()
	} else {
		request = h.greet(ask)
	}
	if place == StepQueue || place == StepPeer {
		return
	}
	f := h.hear(frame.Authenticator)
	_, err := h.verify(h.t.Context(), r, f.Body)
	require.NoError(h.t, err)
	r.opened.close()
	h.say(h.answer(h.authenticator(request, m.cert, cmwExtension(h.t, h.evidence(m, request)))))
	h.hear(frame.Accept)
}

// TestOutOfOrder: each frame is good in itself, and not the one that has to come
// now.
func TestOutOfOrder(t *testing.T) {
	w := newWorld(t, 2)
	client := w.client(w.machines[1].credential(), w.requirement())
	server := w.server(w.machines[0].credential(), w.requirement())
	next := map[Step]frame.Type{
		StepHello: frame.Hello, StepQueue: frame.Request, StepPeer: frame.Authenticator, StepVerdict: frame.Accept,
	}
	for _, self := range []expauth.Role{expauth.Client, expauth.Server} {
		mine, others := client, server
		if self == expauth.Server {
			mine, others = others, mine
		}
		for place, right := range next {
			for _, typ := range []frame.Type{frame.Hello, frame.Request, frame.Authenticator, frame.Accept} {
				// The identifiers: the right one for a wrong type, and a wrong
				// one for the right type.
				id := map[frame.Type]uint16{frame.Request: firstID(self.Peer()), frame.Authenticator: firstID(self)}[typ]
				if typ == right {
					id += 2
				}
				t.Run(fmt.Sprintf("%s: %v %d to the %v", place, typ, id, self), func(t *testing.T) {
					err := facing(t, self, mine, others, func(h *hand) {
						upTo(h, place, w)
						f := frame.Frame{Type: typ, ID: id}
						if typ == frame.Hello {
							f.Body = h.hello().Body
						}
						h.say(f)
						refused := h.refusal()
						require.Equal(t, RefusedProtocol, refused.Code)
						require.Contains(t, refused.Reason, fmt.Sprintf("%v with identifier %d, want %v", typ, id, right))
					})
					require.ErrorIs(t, err, ErrProtocol)
					at(t, err, place)
				})
			}
			t.Run(fmt.Sprintf("%s: refusal to the %v", place, self), func(t *testing.T) {
				err := facing(t, self, mine, others, func(h *hand) {
					upTo(h, place, w)
					h.say(frame.Frame{Type: frame.Refusal, Body: (&frame.RefusalBody{Code: uint16(RefusedBusy), Reason: "later"}).Marshal()})
					types, err := h.rest()
					gone(t, err)
					require.NotContains(t, types, frame.Refusal, "a refusal is not answered")
				})
				require.ErrorIs(t, err, ErrBusy)
				refusedAs(t, err, RefusedBusy, "later")
				at(t, err, place)
			})
		}
	}
}

// TestMalformedBodies: the frame is right, what it holds is not.
func TestMalformedBodies(t *testing.T) {
	w := newWorld(t, 2)
	client := w.client(w.machines[1].credential(), w.requirement())
	server := w.server(w.machines[0].credential(), w.requirement())
	request := func(h *hand, change func(*expauth.Request)) []byte {
		context, err := h.contexts.New()
		require.NoError(t, err)
		r := expauth.Request{
			From: h.self, Context: context, SignatureSchemes: expauth.SignatureSchemes(),
			Extensions: []expauth.Extension{{Type: extensionCMW}},
		}
		change(&r)
		out, err := r.Marshal()
		require.NoError(t, err)
		return out
	}
	for _, self := range []expauth.Role{expauth.Client, expauth.Server} {
		mine, others := client, server
		if self == expauth.Server {
			mine, others = others, mine
		}
		refused := func(name string, place Step, code RefusalCode, kind error, text string, script func(h *hand)) {
			t.Run(name+" to the "+self.String(), func(t *testing.T) {
				err := facing(t, self, mine, others, func(h *hand) {
					upTo(h, place, w)
					script(h)
					r := h.refusal()
					require.Equal(t, code, r.Code)
					require.Contains(t, r.Reason, text)
				})
				require.ErrorIs(t, err, kind)
				require.ErrorContains(t, err, text)
			})
		}
		for name, body := range map[string][]byte{
			"empty hello": {}, "hello with unknown flags": {2, 0, 0, 0, 0, 0, 0}, "hello cut short": {0, 0, 9, 0, 0, 0, 0},
			"hello with bytes left over": {0, 0, 0, 0, 0, 0, 0, 0},
		} {
			refused(name, StepHello, RefusedProtocol, ErrProtocol, "a hello", func(h *hand) {
				h.say(frame.Frame{Type: frame.Hello, Body: body})
			})
		}
		refused("longest hello", StepHello, RefusedProtocol, ErrProtocol, "a hello", func(h *hand) {
			h.say(frame.Frame{Type: frame.Hello, Body: make([]byte, frame.Hello.MaxBody())})
		})
		ask := func(body []byte) func(h *hand) {
			return func(h *hand) {
				h.say(frame.Frame{Type: frame.Request, ID: firstID(h.self), Body: body})
			}
		}
		refused("empty request", StepQueue, RefusedProtocol, ErrProtocol, "request", ask(nil))
		refused("longest request", StepQueue, RefusedProtocol, ErrProtocol, "", ask(make([]byte, frame.Request.MaxBody())))
		for name, tt := range map[string]struct {
			change func(*expauth.Request)
			text   string
		}{
			"request with a context of 31 bytes": {func(r *expauth.Request) { r.Context = r.Context[:31] }, "31 bytes, want 32"},
			"request that does not ask for attestation": {
				func(r *expauth.Request) { r.Extensions = nil }, "does not ask for attestation",
			},
			"request with something in cmw_attestation": {
				func(r *expauth.Request) { r.Extensions[0].Data = []byte{0} }, "not empty",
			},
			"request of this side's own kind": {func(r *expauth.Request) { r.From, r.ServerName = r.From.Peer(), "" }, "own kind"},
		} {
			refused(name, StepQueue, RefusedProtocol, ErrProtocol, tt.text, func(h *hand) { ask(request(h, tt.change))(h) })
		}
		for name, body := range map[string][]byte{
			"empty authenticator frame": {}, "garbage for an authenticator": []byte("garbage"),
			"longest authenticator": make([]byte, frame.Authenticator.MaxBody()),
		} {
			refused(name, StepPeer, RefusedBinding, ErrNotBound, "not bound", func(h *hand) { h.say(h.answer(body)) })
		}
		refused("refusal without code", StepVerdict, RefusedProtocol, ErrProtocol, "refusal without code", func(h *hand) {
			h.say(frame.Frame{Type: frame.Refusal})
		})
		refused("refusal that is no text", StepVerdict, RefusedProtocol, ErrProtocol, "not text", func(h *hand) {
			h.say(frame.Frame{Type: frame.Refusal, Body: []byte{0, 1, 0xff}})
		})
		t.Run("no scheme that the key can, "+self.String(), func(t *testing.T) {
			err := facing(t, self, mine, others, func(h *hand) {
				upTo(h, StepQueue, w)
				ask(request(h, func(r *expauth.Request) { r.SignatureSchemes = []tls.SignatureScheme{tls.Ed25519} }))(h)
				require.Equal(t, RefusedAttester, h.refusal().Code)
			})
			require.ErrorIs(t, err, expauth.ErrScheme)
		})
	}
}

// TestBusy: an attester that has too much to do says so, and nothing is the
// worse for those who wait already.
func TestBusy(t *testing.T) {
	w := newWorld(t, 1)
	m := w.machines[0]
	working, proceed := make(chan struct{}), make(chan struct{})
	credential := m.credential(func(cfg *CredentialConfig) {
		cfg.MaxPending = 1
		cfg.Attester = attesterFunc(func(ctx context.Context, nonce []byte) ([]byte, error) {
			working <- struct{}{}
			<-proceed
			return m.Attest(ctx, nonce)
		})
	})
	server := w.server(credential, nil)
	client := w.client(nil, w.requirement())
	var first ends
	var wg sync.WaitGroup
	c, s := pipe(t)
	wg.Go(func() { first = over(t, c, s, client, server) })
	<-working

	e := connect(t, client, server)
	require.ErrorIs(t, e.serverErr, ErrBusy)
	require.ErrorContains(t, e.serverErr, "1 attestations are pending")
	require.ErrorIs(t, e.clientErr, ErrBusy)
	refusedAs(t, e.clientErr, RefusedBusy, "too busy")

	close(proceed)
	wg.Wait()
	require.NoError(t, first.clientErr)
	require.NoError(t, first.serverErr)
	go func() { <-working }()
	e = connect(t, client, server)
	require.NoError(t, e.clientErr, "its place is free again")
}

// TestVerifierFails: a verifier that gives no answer gives no connection, and
// the peer is not told where it is.
func TestVerifierFails(t *testing.T) {
	w := newWorld(t, 1)
	const secret = "dial tcp 10.11.12.13:8443: connection refused"
	server := w.server(w.machines[0].credential(), nil)
	answer := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	appraise := func(err error) func(context.Context, *rp.Evidence) error {
		return func(context.Context, *rp.Evidence) error { return err }
	}
	for _, tt := range []struct {
		name       string
		before     func(context.Context) error
		appraising func(context.Context, *rp.Evidence) error
		step       Step
		code       RefusalCode
	}{
		{"no session", answer(errors.New(secret)), nil, StepSession, RefusedUnavailable},
		{"no session, with a status", answer(&rp.ProblemError{Status: 503, Title: secret}), nil, StepSession, RefusedUnavailable},
		{"no result", nil, appraise(errors.New(secret)), StepAppraise, RefusedUnavailable},
		{"no result in time", nil, appraise(fmt.Errorf("%s: %w", secret, rp.ErrUnfinished)), StepAppraise, RefusedUnavailable},
		{"refused by status", nil, appraise(&rp.ProblemError{Status: 400, Title: secret}), StepAppraise, RefusedAppraisal},
		{"failed by status", nil, appraise(&rp.ProblemError{Status: 500, Title: secret}), StepAppraise, RefusedUnavailable},
		{"answers nonsense", nil, appraise(&rp.ProtocolError{Operation: "x", Err: errors.New(secret)}), StepAppraise, RefusedUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &counting{Verifier: w.verifier, before: tt.before, appraising: tt.appraising}
			e := connect(t, w.client(nil, w.requirement(func(r *Requirement) { r.Verifier = v })), server)
			require.ErrorContains(t, e.clientErr, secret)
			at(t, e.clientErr, tt.step)
			refusedAs(t, e.serverErr, tt.code, tt.code.String())
			require.NotContains(t, e.serverErr.Error(), "10.11.12.13")
			require.Zero(t, v.open.Load())
		})
	}
	t.Run("a session for another nonce", func(t *testing.T) {
		v := &otherNonce{counting{Verifier: w.verifier}}
		e := connect(t, w.client(nil, w.requirement(func(r *Requirement) { r.Verifier = v })), server)
		require.ErrorContains(t, e.clientErr, "another nonce")
		refusedAs(t, e.serverErr, RefusedUnavailable, "")
		require.Zero(t, v.open.Load())
	})
	for name, slow := range map[string]*counting{
		"slow to open": {Verifier: w.verifier, before: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}},
		"slow to appraise": {Verifier: w.verifier, appraising: func(ctx context.Context, _ *rp.Evidence) error {
			<-ctx.Done()
			return ctx.Err()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			client := w.client(nil, w.requirement(func(r *Requirement) { r.Verifier = slow }))
			client.Timeout = 150 * time.Millisecond
			start := time.Now()
			e := connect(t, client, server)
			require.Less(t, time.Since(start), 5*time.Second)
			require.ErrorIs(t, e.clientErr, context.DeadlineExceeded)
			refusedAs(t, e.serverErr, RefusedTimeout, "timeout")
			require.Zero(t, slow.open.Load())
		})
	}
}

// otherNonce opens sessions for nonces of its own choice.
type otherNonce struct{ counting }

func (v *otherNonce) NewSession(ctx context.Context, _ []byte) (rp.Session, error) {
	return v.counting.NewSession(ctx, nil)
}

// TestConfig: every zero value and every contradiction is refused, before a byte
// is sent, by everything that takes a Config.
func TestConfig(t *testing.T) {
	w := newWorld(t, 1)
	credential := w.machines[0].credential()
	requirement := func(change ...func(*Requirement)) *Requirement { return w.requirement(change...) }
	withTLS := func(change func(*tls.Config)) *Config {
		c := w.client(nil, requirement())
		change(c.TLS)
		return c
	}
	demanding := func(change ...func(*Requirement)) *Config { return w.client(nil, requirement(change...)) }
	issuer := func(i Issuer) func(*Requirement) {
		return func(r *Requirement) { r.Issuers = []Issuer{i} }
	}
	keys := ear.Pin(w.verifier.Key())
	for _, tt := range []struct {
		name   string
		cfg    *Config
		server bool
		text   string
	}{
		{"nil", nil, false, "configuration is given"},
		{"zero", &Config{}, false, "no TLS configuration"},
		{"no TLS", &Config{Requirement: requirement()}, false, "no TLS configuration"},
		{"neither credential nor requirement", w.client(nil, nil), false, "nothing would be attested"},
		{"TLS 1.2", withTLS(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), false, "the binding needs TLS 1.3"},
		{"zero credential", w.client(&Credential{}, nil), false, "not of NewCredential"},
		{"timeout", &Config{TLS: &tls.Config{}, Credential: credential, Timeout: -1}, false, "below zero"},
		{"hello timeout", &Config{TLS: &tls.Config{}, Credential: credential, HelloTimeout: -1}, false, "below zero"},
		{"handshakes", &Config{TLS: &tls.Config{}, Credential: credential, MaxHandshakes: -1}, false, "below zero"},
		{"zero requirement", w.client(nil, &Requirement{}), false, "neither a Verifier nor Issuers"},
		{"no policy", demanding(func(r *Requirement) { r.Policy = nil }), false, rp.ErrNoPolicy.Error()},
		{"MaxAge below zero", demanding(func(r *Requirement) { r.MaxAge = -1 }), false, "at least 0"},
		{"ReattestEvery below zero", demanding(func(r *Requirement) { r.ReattestEvery = -1 }), false, "at least 0"},
		{"ReattestEvery above MaxAge", demanding(func(r *Requirement) { r.ReattestEvery, r.MaxAge = 2, 1 }), false, "less than MaxAge"},
		{"ReattestEvery is MaxAge", demanding(func(r *Requirement) { r.ReattestEvery, r.MaxAge = 1, 1 }), false, "less than MaxAge"},
		{"issuer without name", demanding(issuer(Issuer{Keys: keys, MaxAge: 1})), false, "no name"},
		{"issuer without keys", demanding(issuer(Issuer{Name: "v", MaxAge: 1})), false, "no keys"},
		{"issuer without MaxAge", demanding(issuer(Issuer{Name: "v", Keys: keys})), false, "MaxAge is 0s"},
		{"issuer with a long name", demanding(issuer(Issuer{Name: strings.Repeat("v", 256), Keys: keys, MaxAge: 1})), false, "256 bytes"},
		{"any instance, with PKI", demanding(func(r *Requirement) { r.InsecureAnyInstance = true }), false, "without InsecureSkipPKI"},
		{"any instance, and one", demanding(func(r *Requirement) {
			r.InsecureSkipPKI, r.InsecureAnyInstance, r.Instances = true, true, [][]byte{{1}}
		}), false, "with Instances or Keys"},
		{"no PKI, no instance", demanding(func(r *Requirement) { r.InsecureSkipPKI = true }), false, "without identity"},
		{"no name", withTLS(func(c *tls.Config) { c.ServerName = "" }), false, "TLS.ServerName"},
		{"no CAs for clients", &Config{TLS: &tls.Config{}, Requirement: requirement()}, true, "TLS.ClientCAs"},
		{"type of evidence too long", demanding(func(r *Requirement) { r.EvidenceTypes = []string{strings.Repeat("x", 256)} }), false, "256 bytes"},
		{"type of evidence empty", demanding(func(r *Requirement) { r.EvidenceTypes = []string{""} }), false, "0 bytes"},
		{"too many types", demanding(func(r *Requirement) { r.EvidenceTypes = slices.Repeat([]string{"application/x"}, 33) }), false, "33 ways"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refuses := func(err error) {
				t.Helper()
				require.ErrorContains(t, err, tt.text)
				require.ErrorContains(t, err, "tlsbinding: ")
			}
			closed := func(conn net.Conn) {
				t.Helper()
				_, err := conn.Write([]byte{1})
				require.ErrorIs(t, err, net.ErrClosed)
			}
			c, s := pipe(t)
			if tt.server {
				_, err := Server(t.Context(), c, tt.cfg)
				refuses(err)
				closed(c)
				_, err = NewListener(nil, tt.cfg)
				refuses(err)
				_, err = NewFramedListener(nil, tt.cfg)
				refuses(err)
				return
			}
			_, err := Client(t.Context(), c, tt.cfg)
			refuses(err)
			closed(c)
			_, err = ClientFramed(t.Context(), s, tt.cfg)
			refuses(err)
			if tt.name == "no name" {
				return // what follows has a name from elsewhere
			}
			_, err = Dial(t.Context(), "tcp", "127.0.0.1:1", tt.cfg)
			refuses(err)
			_, err = DialFramed(t.Context(), "tcp", "127.0.0.1:1", tt.cfg)
			refuses(err)
			_, err = NewTransport(tt.cfg, nil)
			refuses(err)
		})
	}
	t.Run("address", func(t *testing.T) {
		cfg := withTLS(func(c *tls.Config) { c.ServerName = "" })
		_, err := Dial(t.Context(), "tcp", "nowhere", cfg)
		require.ErrorContains(t, err, "missing port")
		require.Empty(t, cfg.TLS.ServerName)
	})
	t.Run("nobody there", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		l.Close()
		_, err = Dial(t.Context(), "tcp", l.Addr().String(), demanding())
		at(t, err, "connecting")
	})
}

func TestCredentialConfig(t *testing.T) {
	w := newWorld(t, 1)
	m := w.machines[0]
	for name, tt := range map[string]struct {
		change func(*CredentialConfig)
		text   string
	}{
		"no certificate":             {func(c *CredentialConfig) { c.Certificate = tls.Certificate{} }, "no certificate"},
		"no certificate but garbage": {func(c *CredentialConfig) { c.Certificate.Certificate = [][]byte{{1}} }, "the certificate"},
		"no key":                     {func(c *CredentialConfig) { c.Certificate.PrivateKey = nil }, "does not sign"},
		"a key that does not sign":   {func(c *CredentialConfig) { c.Certificate.PrivateKey = struct{}{} }, "does not sign"},
		"another key": {
			func(c *CredentialConfig) { c.Certificate.PrivateKey = evidencetest.ECKey(t, elliptic.P256()) }, "another key",
		},
		"a key of another kind": {func(c *CredentialConfig) {
			c.Certificate.PrivateKey = &rsa.PrivateKey{PublicKey: rsa.PublicKey{}}
		}, "another key"},
		"nothing to show":            {func(c *CredentialConfig) { c.Attester = nil }, "neither an Attester nor a Passport"},
		"passport without verifiers": {func(c *CredentialConfig) { w.passport(m)(c); c.Verifiers = nil }, "needs Verifiers"},
		"verifier without a name":    {func(c *CredentialConfig) { w.passport(m)(c); c.Verifiers = []string{""} }, "a passport has one"},
		"MaxPending":                 {func(c *CredentialConfig) { c.MaxPending = -1 }, "MaxPending is -1"},
		"type too long":              {func(c *CredentialConfig) { c.EvidenceType = strings.Repeat("x", 256) }, "256 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := CredentialConfig{Certificate: m.cert, Attester: m}
			tt.change(&cfg)
			c, err := NewCredential(cfg)
			require.Nil(t, c)
			require.ErrorContains(t, err, tt.text)
			require.ErrorContains(t, err, "tlsbinding: credential: ")
		})
	}
}
