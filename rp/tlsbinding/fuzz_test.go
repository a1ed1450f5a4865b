// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/internal/expauth"
	"github.com/veraison/attested-tls/rp/tlsbinding/internal/frame"
)

// fuzzing is what the fuzz targets share: making it takes longer than a run.
type fuzzing struct {
	*world
	client, server *Config
}

// outlasting is a testing.TB for machines that work inside of fuzz targets,
// where methods of a *testing.F must not be called.
type outlasting struct{ testing.TB }

func (outlasting) Helper() {}

func (outlasting) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func newFuzzing(t testing.TB) *fuzzing {
	w := newWorld(outlasting{t}, 2)
	z := &fuzzing{world: w}
	z.client = w.client(w.machines[1].credential(), w.requirement())
	z.server = w.server(w.machines[0].credential(), w.requirement())
	for _, cfg := range []*Config{z.client, z.server} {
		cfg.Timeout, cfg.HelloTimeout = 10*time.Second, 10*time.Second
	}
	return z
}

// facing has one side deal with a peer that makes a TLS connection and then
// does what it likes. It comes to an end when the peer goes, and in time.
func (z *fuzzing) facing(t *testing.T, self expauth.Role, framed bool, script func(*hand)) error {
	t.Helper()
	mine, others := z.client, z.server
	if self == expauth.Server {
		mine, others = others, mine
	}
	a, b := pipe(t)
	result := make(chan error, 1)
	go func() {
		s, err := handshake(context.Background(), self, a, mine, framed)
		if err == nil {
			s.conn.Close()
		}
		result <- err
	}()
	h := &hand{session: &session{cfg: others, self: self.Peer(), link: newLink(b)}, t: t, id: firstID(self)}
	require.NoError(t, h.secure(context.Background()))
	// What is said to it is read, and not looked at.
	var wg sync.WaitGroup
	script(h)
	_ = h.conn.CloseWrite()
	wg.Go(func() { _, _ = io.Copy(io.Discard, h.conn) })
	defer wg.Wait()
	defer h.conn.Close()
	select {
	case err := <-result:
		return err
	case <-time.After(5 * time.Second):
		require.FailNow(t, "it does not come to an end")
		return nil
	}
}

// hello is one with which every negotiation succeeds.
func (z *fuzzing) hello(t testing.TB, self expauth.Role, framed bool) []byte {
	t.Helper()
	cfg := z.client
	if self == expauth.Server {
		cfg = z.server
	}
	body, err := (&frame.HelloBody{
		Framed: framed, Shows: ways(cfg.Credential.offers), Accepts: ways(cfg.Requirement.offers()), Key: cfg.Credential.spki,
	}).Marshal()
	require.NoError(t, err)
	data, err := frame.Frame{Type: frame.Hello, Body: body}.Append(nil)
	require.NoError(t, err)
	return data
}

// seeds are beginnings of an exchange, good and bad.
func (z *fuzzing) seeds(f *testing.F) [][]byte {
	f.Helper()
	list := [][]byte{nil, []byte("GET / HTTP/1.1\r\n\r\n")}
	for _, self := range []expauth.Role{expauth.Client, expauth.Server} {
		s := session{cfg: z.client, self: self}
		r, err := s.newRequest(firstID(self))
		require.NoError(f, err)
		data := z.hello(f, self, false)
		list = append(list, data)
		for _, next := range []frame.Frame{
			{Type: frame.Request, ID: r.id, Body: r.message},
			{Type: frame.Authenticator, ID: firstID(self.Peer()), Body: []byte{11, 0, 0, 0}},
			{Type: frame.Accept},
			{Type: frame.Refusal, Body: []byte{0, 9}},
		} {
			data, err = next.Append(append([]byte(nil), data...))
			require.NoError(f, err)
			list = append(list, data)
		}
	}
	return list
}

// FuzzProtocol: whatever bytes follow a good TLS handshake, neither side panics,
// neither believes that anything was attested, and both come to an end.
func FuzzProtocol(f *testing.F) {
	z := newFuzzing(f)
	for i, seed := range z.seeds(f) {
		f.Add(uint8(i), seed)
	}
	f.Fuzz(func(t *testing.T, how uint8, data []byte) {
		self, framed := expauth.Client, how&2 != 0
		if how&1 != 0 {
			self = expauth.Server
		}
		err := z.facing(t, self, framed, func(h *hand) {
			if how&4 != 0 { // past the negotiation
				_, _ = h.conn.Write(z.hello(t, self.Peer(), framed))
			}
			_, _ = h.conn.Write(data)
		})
		require.Error(t, err)
	})
}

// FuzzProtocolStructure: the same with frames that are well formed, in an order
// and with contents that chance makes out of what a good peer would say.
func FuzzProtocolStructure(f *testing.F) {
	z := newFuzzing(f)
	for seed := range uint64(60) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		x := rand.New(rand.NewPCG(seed, 0))
		self := expauth.Client
		if x.IntN(2) == 0 {
			self = expauth.Server
		}
		err := z.facing(t, self, false, func(h *hand) {
			_, ask := h.ask()
			good := []frame.Frame{h.hello(), ask, h.answer(nil), {Type: frame.Accept}}
			h.show, h.demand = h.cfg.Credential.offers[0], h.cfg.Requirement.offers()[0]
			if h.self == expauth.Client || x.IntN(2) == 0 {
				// An answer of the right form, for a request of its own making.
				theirs := &session{cfg: h.cfg, self: h.self.Peer()}
				other, err := theirs.newRequest(h.id)
				require.NoError(t, err)
				good[2].Body, err = h.attest(context.Background(), other.message)
				require.NoError(t, err)
			}
			for i := range good {
				b := good[i].Body
				for range x.IntN(3) {
					if len(b) > 0 {
						b = append([]byte(nil), b...)
						b[x.IntN(len(b))] ^= 1 << x.IntN(8)
					}
				}
				switch x.IntN(12) {
				case 0:
					b = b[:x.IntN(len(b)+1)]
				case 1:
					b = append(append([]byte(nil), b...), byte(x.IntN(256)))
				case 2:
					good[i].ID += uint16(x.IntN(3))
				case 3:
					j := x.IntN(len(good))
					good[i], good[j] = good[j], good[i]
					continue
				}
				good[i].Body = b
			}
			for _, next := range good {
				if frame.Write(h.conn, next) != nil && x.IntN(2) == 0 {
					return
				}
			}
		})
		require.Error(t, err)
	})
}

// FuzzFramed: whatever bytes follow a good exchange, data is all that they can
// be; nobody is attested by it.
func FuzzFramed(f *testing.F) {
	z := newFuzzing(f)
	for _, seed := range z.seeds(f) {
		f.Add(seed)
	}
	for typ := frame.Hello; typ <= frame.Data; typ++ {
		data, err := frame.Frame{Type: typ, ID: 3}.Append(nil)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := pipe(t)
		var c *Conn
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { c, err = ClientFramed(context.Background(), a, z.client) })
		h := &hand{session: &session{cfg: z.server, self: expauth.Server, link: newLink(b)}, t: t, id: clientRequestID}
		require.NoError(t, h.secure(context.Background()))
		require.NoError(t, h.negotiate(context.Background(), true))
		wg.Wait()
		require.NoError(t, err)
		before := c.Peer()
		wg.Go(func() { _, _ = io.Copy(io.Discard, h.conn) })
		_, _ = h.conn.Write(data)
		_ = h.conn.CloseWrite()
		require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
		got, err := io.ReadAll(c)
		require.LessOrEqual(t, len(got), len(data))
		if err != nil {
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			_, err = c.Write([]byte("x"))
			require.Error(t, err)
			before = nil // nothing counts any more
		}
		if after := c.Peer(); after != nil { // it has not failed
			require.Same(t, before, after)
		}
		c.Close()
		h.conn.Close()
		wg.Wait()
	})
}

// FuzzReattest: whatever a client posts, and whatever a server answers, nobody
// is attested by it.
func FuzzReattest(f *testing.F) {
	z := newFuzzing(f)
	for _, seed := range z.seeds(f) {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	for typ := frame.Hello; typ <= frame.Data; typ++ {
		data, err := frame.Frame{Type: typ, ID: 2}.Append(nil)
		require.NoError(f, err)
		f.Add(data, true)
		f.Add(data, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, asked bool) {
		e := connect(t, z.client, z.server)
		require.NoError(t, e.clientErr)
		require.NoError(t, e.serverErr)
		defer e.client.Close()
		defer e.server.Close()
		client, server := sessionOf(e.client), sessionOf(e.server)
		frames, err := frame.ReadAll(&limited{data: data}, 2)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		before := server.peer.Load()
		if asked {
			_, err := server.serveFrames(ctx, nil)
			require.NoError(t, err)
			require.NotNil(t, server.http.asked.Load())
		}
		_, _ = server.serveFrames(ctx, frames)
		require.Same(t, before, server.peer.Load(), "nobody is attested by it")

		before = client.peer.Load()
		mine, err := client.askAgain(clientRequestID)
		require.NoError(t, err)
		p, _, err := client.answerFrames(ctx, mine, frames)
		require.Error(t, err)
		require.Nil(t, p)
		require.Same(t, before, client.peer.Load())
	})
}

// limited is a reader that gives its bytes in small pieces.
type limited struct{ data []byte }

func (l *limited) Read(p []byte) (int, error) {
	if len(l.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 7)], l.data)
	l.data = l.data[n:]
	return n, nil
}
