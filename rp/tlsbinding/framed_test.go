// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/internal/expauth"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/tlsbinding/internal/frame"
)

// framedPair is both ends of a framed connection.
func framedPair(t testing.TB, client, server *Config) (c, s *Conn) {
	t.Helper()
	a, b := pipe(t)
	var wg sync.WaitGroup
	var serverErr error
	wg.Go(func() { s, serverErr = ServerFramed(context.Background(), b, server) })
	c, err := ClientFramed(context.Background(), a, client)
	wg.Wait()
	require.NoError(t, err)
	require.NoError(t, serverErr)
	t.Cleanup(func() {
		c.Close()
		s.Close()
	})
	return c, s
}

// mutual is a pair in which both sides attest and demand.
func mutual(t testing.TB, change ...func(client, server *Config)) (w *world, c, s *Conn) {
	t.Helper()
	w = newWorld(t, 2)
	client := w.client(w.machines[1].credential(), w.requirement())
	server := w.server(w.machines[0].credential(), w.requirement())
	for _, f := range change {
		f(client, server)
	}
	c, s = framedPair(t, client, server)
	return w, c, s
}

// TestFramedData: data of every size comes as it was sent, in both directions,
// while both sides have the other attest again all the time.
func TestFramedData(t *testing.T) {
	_, c, s := mutual(t, func(client, server *Config) {
		client.Requirement.ReattestEvery, server.Requirement.ReattestEvery = 5*time.Millisecond, 3*time.Millisecond
	})
	before := [2]time.Time{c.Peer().At, s.Peer().At}
	const total = 8 << 20
	var wg sync.WaitGroup
	for i, pair := range [][2]*Conn{{c, s}, {s, c}} {
		sent, got := sha256.New(), sha256.New()
		var up sync.WaitGroup
		up.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			var seed [32]byte
			source := rand.NewChaCha8(seed)
			for left := total; left > 0; {
				size := min(left, 1<<random.IntN(18)+random.IntN(3)-1)
				data := make([]byte, size)
				_, _ = source.Read(data)
				n, err := pair[0].Write(data)
				if err != nil || n != size {
					t.Errorf("wrote %d of %d: %v", n, size, err)
					return
				}
				sent.Write(data)
				left -= size
			}
		})
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 2))
			buffer := make([]byte, 70<<10)
			for left := total; left > 0; {
				n, err := pair[1].Read(buffer[:min(left, 1+random.IntN(len(buffer)))])
				if err != nil {
					t.Errorf("%d bytes are missing: %v", left, err)
					return
				}
				got.Write(buffer[:n])
				left -= n
			}
			up.Wait()
			if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
				t.Error("what came is not what was sent")
			}
		})
	}
	wg.Wait()
	for i, side := range []*Conn{c, s} {
		require.Eventually(t, func() bool { return side.Peer().At.After(before[i]) }, 10*time.Second, time.Millisecond,
			"the peer was not attested again")
	}
}

// TestFramedListener: Dial and Accept, addresses and states.
func TestFramedListener(t *testing.T) {
	w := newWorld(t, 1)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l, err := NewFramedListener(inner, w.server(w.machines[0].credential(), nil))
	require.NoError(t, err)
	defer l.Close()
	c, err := DialFramed(t.Context(), "tcp", l.Addr().String(), w.client(nil, w.requirement()))
	require.NoError(t, err)
	defer c.Close()
	accepted, err := l.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	s, ok := accepted.(*Conn)
	require.True(t, ok)
	talk(t, c, s)
	require.Equal(t, c.LocalAddr().String(), s.RemoteAddr().String())
	require.Equal(t, s.LocalAddr().String(), c.RemoteAddr().String())
	require.Equal(t, uint16(0x304), c.ConnectionState().Version)
	p, known := PeerOf(c)
	require.True(t, known)
	require.Same(t, p, c.Peer())
	require.Nil(t, s.Peer())
	_, known = PeerOf(s)
	require.False(t, known)
	_, err = s.Reattest(t.Context())
	require.ErrorContains(t, err, "nothing is required of this peer")
	talk(t, c, s)
	n, err := c.Write(nil)
	require.NoError(t, err)
	require.Zero(t, n)
}

// TestReattest: on demand, from both sides, also at the same time.
func TestReattest(t *testing.T) {
	v := &counting{}
	w, c, s := mutual(t, func(client, _ *Config) {
		v.Verifier = client.Requirement.Verifier
		client.Requirement.Verifier = v
	})
	for _, side := range []*Conn{c, s} {
		before := side.Peer()
		after, err := side.Reattest(t.Context())
		require.NoError(t, err)
		require.True(t, after.At.After(before.At))
		require.Same(t, after, side.Peer())
		require.NotEqual(t, before.Result.Nonce, after.Result.Nonce)
	}
	var wg sync.WaitGroup
	for range 4 {
		for _, side := range []*Conn{c, s} {
			wg.Go(func() {
				if _, err := side.Reattest(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	talk(t, c, s)
	v.noneOpen(t, 6)
	require.True(t, w.machines[0].tik.PublicKey.Equal(c.Peer().Key()))
}

// TestReattestFails: a machine that has changed loses the connection, and both
// ends know why.
func TestReattestFails(t *testing.T) {
	for name, change := range map[string]func(*world, *machine){
		"a PCR changed":      func(_ *world, m *machine) { m.extend() },
		"another key":        func(w *world, m *machine) { m.tpm.TIK = w.machines[1].tpm.TIK },
		"an unknown machine": func(w *world, m *machine) { m.tpm.KID = append([]byte{1}, make([]byte, 32)...) },
	} {
		t.Run(name, func(t *testing.T) {
			w, c, s := mutual(t)
			_, err := s.Write([]byte("not read yet"))
			require.NoError(t, err)
			change(w, w.machines[0])
			_, err = c.Reattest(t.Context())
			var refused *rp.PolicyError
			require.ErrorAs(t, err, &refused)
			at(t, err, StepAppraise)

			buffer := make([]byte, 100)
			n, readErr := c.Read(buffer)
			require.Zero(t, n, "data of a machine that is not trusted any more")
			require.Equal(t, err, readErr)
			_, writeErr := c.Write([]byte("x"))
			require.Equal(t, err, writeErr)
			_, again := c.Reattest(t.Context())
			require.Equal(t, err, again)

			_, err = s.Read(buffer)
			refusedAs(t, err, RefusedAppraisal, refused.Claim)
			_, err = s.Write([]byte("x"))
			refusedAs(t, err, RefusedAppraisal, "")
			_, err = s.Reattest(t.Context())
			refusedAs(t, err, RefusedAppraisal, "")
		})
	}
}

// TestReattestAttesterFails: the side that cannot attest any more says so.
func TestReattestAttesterFails(t *testing.T) {
	var m *machine
	var mu sync.Mutex
	broken := false
	w := newWorld(t, 2)
	m = w.machines[0]
	credential := m.credential(attesting(func(ctx context.Context, nonce []byte) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		if broken {
			return nil, errors.New("secret: the TPM is gone")
		}
		return m.Attest(ctx, nonce)
	}))
	c, s := framedPair(t, w.client(nil, w.requirement()), w.server(credential, nil))
	mu.Lock()
	broken = true
	mu.Unlock()
	_, err := c.Reattest(t.Context())
	refusedAs(t, err, RefusedAttester, "no evidence")
	_, err = s.Read(make([]byte, 1))
	require.ErrorContains(t, err, "the TPM is gone")
	at(t, err, StepEvidence)
}

// TestReattestEvery: without anybody's doing, until it fails.
func TestReattestEvery(t *testing.T) {
	w, c, s := mutual(t, func(client, _ *Config) {
		client.Requirement.ReattestEvery = 10 * time.Millisecond
		client.Requirement.MaxAge = time.Minute
	})
	before := c.Peer().At
	require.Eventually(t, func() bool { return c.Peer().At.After(before) }, 10*time.Second, time.Millisecond)
	talk(t, c, s)
	w.machines[0].extend()
	_, err := c.Read(make([]byte, 1))
	var refused *rp.PolicyError
	require.ErrorAs(t, err, &refused)
	_, err = s.Read(make([]byte, 1))
	refusedAs(t, err, RefusedAppraisal, "")
}

// TestMaxAge: a connection dies with its last attestation, and lives as long as
// there are new ones.
func TestMaxAge(t *testing.T) {
	w := newWorld(t, 1)
	const age = 300 * time.Millisecond
	aging := w.client(nil, w.requirement(func(r *Requirement) { r.MaxAge = age }))
	t.Run("plain", func(t *testing.T) {
		e := connect(t, aging, w.server(w.machines[0].credential(), nil))
		require.NoError(t, e.clientErr)
		require.NoError(t, e.serverErr)
		talk(t, e.client, e.server)
		_, err := e.client.Read(make([]byte, 1))
		require.ErrorIs(t, err, ErrStale)
		_, err = e.client.Write([]byte("x"))
		require.Error(t, err)
		_, err = e.server.Read(make([]byte, 1))
		require.Error(t, err)
	})
	t.Run("framed", func(t *testing.T) {
		c, s := framedPair(t, aging, w.server(w.machines[0].credential(), nil))
		_, err := c.Read(make([]byte, 1))
		require.ErrorIs(t, err, ErrStale)
		_, err = c.Write([]byte("x"))
		require.ErrorIs(t, err, ErrStale)
		_, err = c.Reattest(t.Context())
		require.ErrorIs(t, err, ErrStale)
		_, err = s.Read(make([]byte, 1))
		refusedAs(t, err, RefusedTimeout, ErrStale.Error())
	})
	t.Run("attested again", func(t *testing.T) {
		r := *aging.Requirement
		r.MaxAge = time.Second
		client := w.client(nil, &r)
		c, s := framedPair(t, client, w.server(w.machines[0].credential(), nil))
		for start := time.Now(); time.Since(start) < 1500*time.Millisecond; time.Sleep(100 * time.Millisecond) {
			_, err := c.Reattest(t.Context())
			require.NoError(t, err)
		}
		talk(t, c, s)
	})
	t.Run("closed in time", func(t *testing.T) {
		e := connect(t, aging, w.server(w.machines[0].credential(), nil))
		require.NoError(t, e.clientErr)
		require.NoError(t, e.client.Close())
		time.Sleep(age + 50*time.Millisecond)
		_, err := e.client.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		require.NotErrorIs(t, err, ErrStale)
	})
}

// framedHand is a framed connection of this package whose peer is driven by
// hand. The side under test is the client, which attests and demands.
func framedHand(t *testing.T, change ...func(*Config)) (*world, *Conn, *hand) {
	t.Helper()
	w := newWorld(t, 2)
	mine := w.client(w.machines[1].credential(), w.requirement())
	for _, f := range change {
		f(mine)
	}
	others := w.server(w.machines[0].credential(), w.requirement())
	a, b := pipe(t)
	var c *Conn
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { c, err = ClientFramed(context.Background(), a, mine) })
	h := &hand{session: &session{cfg: others, self: expauth.Server, link: newLink(b)}, t: t, id: clientRequestID}
	require.NoError(t, h.secure(t.Context()))
	require.NoError(t, h.conn.SetDeadline(time.Now().Add(20*time.Second)))
	require.NoError(t, h.negotiate(t.Context(), true))
	wg.Wait()
	require.NoError(t, err)
	t.Cleanup(func() {
		c.Close()
		h.conn.Close()
	})
	require.NoError(t, h.conn.SetDeadline(time.Now().Add(20*time.Second)))
	return w, c, h
}

// TestFramedProtocol: each peer breaks the protocol in one thing, after the
// start. More follows in the same flight, which must not hide the reason.
func TestFramedProtocol(t *testing.T) {
	for name, tt := range map[string]struct {
		script func(*hand)
		code   RefusalCode
		text   string
	}{
		"a hello":  {func(h *hand) { h.say(h.hello()) }, RefusedProtocol, "hello after the start"},
		"garbage":  {func(h *hand) { h.raw([]byte("garbage")) }, RefusedProtocol, "not a frame"},
		"no frame": {func(h *hand) { h.raw([]byte{0xe5, 0xa7, 0xa1, 0x9c, 9, 1, 0, 0, 0, 0, 0, 0}) }, RefusedProtocol, "version 9"},
		"an authenticator that nobody asked for": {func(h *hand) {
			h.say(frame.Frame{Type: frame.Authenticator, ID: 3})
		}, RefusedProtocol, "which nothing waits for"},
		"a request with an identifier of this side": {func(h *hand) {
			_, ask := h.ask()
			ask.ID = 3
			h.say(ask)
		}, RefusedProtocol, "not one of the peer's"},
		"a request that is none": {func(h *hand) { h.say(frame.Frame{Type: frame.Request, ID: 4, Body: []byte("x")}) }, RefusedProtocol, "request"},
		"the same request twice": {func(h *hand) {
			_, ask := h.ask()
			ask.ID = 4
			h.say(ask)
			f := h.hear(frame.Authenticator)
			require.EqualValues(h.t, 4, f.ID)
			ask.ID = 6
			h.say(ask)
		}, RefusedProtocol, "used before"},
	} {
		t.Run(name, func(t *testing.T) {
			_, c, h := framedHand(t)
			tt.script(h)
			for range 8 {
				_ = frame.Write(h.conn, frame.Frame{Type: frame.Data, Body: make([]byte, 16<<10)})
			}
			refused := h.refusal()
			require.Equal(t, tt.code, refused.Code)
			require.Contains(t, refused.Reason, tt.text)
			h.conn.Close()
			_, err := io.Copy(io.Discard, c)
			require.ErrorIs(t, err, ErrProtocol)
			require.ErrorContains(t, err, tt.text)
		})
	}
	t.Run("too many requests at a time", func(t *testing.T) {
		working, proceed := make(chan struct{}, maxServing), make(chan struct{})
		var first atomic.Bool
		_, c, h := framedHand(t, func(cfg *Config) {
			inner := cfg.Credential.attester
			cfg.Credential.attester = attesterFunc(func(ctx context.Context, nonce []byte) ([]byte, error) {
				if first.CompareAndSwap(false, true) { // the one of the handshake
					return inner.Attest(ctx, nonce)
				}
				working <- struct{}{}
				select {
				case <-proceed:
				case <-ctx.Done():
				}
				return inner.Attest(ctx, nonce)
			})
		})
		defer close(proceed)
		for id := range uint16(maxServing + 1) {
			_, ask := h.ask()
			ask.ID = 4 + 2*id
			h.say(ask)
			if id < maxServing {
				<-working
			}
		}
		require.Contains(t, h.refusal().Reason, "before the last one is answered")
		_, err := io.Copy(io.Discard, c)
		require.ErrorIs(t, err, ErrProtocol)
	})
}

// TestFramedReplay: an answer counts once, for one request, on one connection.
func TestFramedReplay(t *testing.T) {
	reattest := func(c *Conn) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := c.Reattest(context.Background())
			done <- err
		}()
		return done
	}
	answer := func(h *hand, f frame.Frame) []byte {
		out, err := h.attest(h.t.Context(), f.Body)
		require.NoError(h.t, err)
		return out
	}
	t.Run("the last answer again", func(t *testing.T) {
		_, c, h := framedHand(t)
		done := reattest(c)
		f := h.hear(frame.Request)
		good := answer(h, f)
		h.say(frame.Frame{Type: frame.Authenticator, ID: f.ID, Body: good})
		require.NoError(t, <-done)
		h.hear(frame.Accept)
		done = reattest(c)
		f = h.hear(frame.Request)
		h.say(frame.Frame{Type: frame.Authenticator, ID: f.ID, Body: good})
		require.Equal(t, RefusedBinding, h.refusal().Code)
		err := <-done
		require.ErrorIs(t, err, ErrNotBound)
		require.ErrorIs(t, err, expauth.ErrContext)
	})
	t.Run("an answer of another connection", func(t *testing.T) {
		_, c, h := framedHand(t)
		w, _, other := framedHand(t)
		_ = w
		done := reattest(c)
		f := h.hear(frame.Request)
		other.cfg = h.cfg // the same machine and key
		h.say(frame.Frame{Type: frame.Authenticator, ID: f.ID, Body: answer(other, f)})
		require.Equal(t, RefusedBinding, h.refusal().Code)
		err := <-done
		require.ErrorIs(t, err, ErrNotBound)
		require.ErrorIs(t, err, expauth.ErrSignature)
	})
	t.Run("another key than the first time", func(t *testing.T) {
		w, c, h := framedHand(t)
		done := reattest(c)
		f := h.hear(frame.Request)
		h.cfg.Credential = w.machines[1].credential() // as good as the other
		h.say(frame.Frame{Type: frame.Authenticator, ID: f.ID, Body: answer(h, f)})
		require.Equal(t, RefusedBinding, h.refusal().Code)
		require.ErrorIs(t, <-done, ErrNotBound)
	})
	t.Run("no answer", func(t *testing.T) {
		_, c, h := framedHand(t, func(cfg *Config) { cfg.Timeout = time.Second })
		done := reattest(c)
		h.hear(frame.Request)
		require.Equal(t, RefusedTimeout, h.refusal().Code)
		err := <-done
		require.ErrorIs(t, err, context.DeadlineExceeded)
		at(t, err, StepPeer)
	})
}

// TestReattestCancelled: an attestation that was begun has to come to its end,
// or nobody would know what holds.
func TestReattestCancelled(t *testing.T) {
	_, c, h := framedHand(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Reattest(ctx)
		done <- err
	}()
	h.hear(frame.Request)
	time.Sleep(100 * time.Millisecond) // it is heard before it counts as sent
	cancel()
	err := <-done
	require.ErrorIs(t, err, context.Canceled)
	at(t, err, StepPeer)
	require.Equal(t, RefusedTimeout, h.refusal().Code)
	_, err = c.Write([]byte("x"))
	require.ErrorIs(t, err, context.Canceled)
}

// TestReattestTurns: one that waits for its turn can be given up without harm.
func TestReattestTurns(t *testing.T) {
	_, c, h := framedHand(t)
	first := make(chan error, 1)
	go func() {
		_, err := c.Reattest(context.Background())
		first <- err
	}()
	f := h.hear(frame.Request)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.Reattest(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	answer, err := h.attest(t.Context(), f.Body)
	require.NoError(t, err)
	h.say(frame.Frame{Type: frame.Authenticator, ID: f.ID, Body: answer})
	require.NoError(t, <-first)
}

// TestPeerLeaves: a peer that closes the connection in good order has said what
// it had to say, also while it is asked to attest.
func TestPeerLeaves(t *testing.T) {
	_, c, h := framedHand(t)
	done := make(chan error, 1)
	go func() {
		_, err := c.Reattest(context.Background())
		done <- err
	}()
	h.hear(frame.Request)
	h.say(frame.Frame{Type: frame.Data, Body: []byte("goodbye")})
	require.NoError(t, h.conn.CloseWrite())
	err := <-done
	require.ErrorContains(t, err, "the peer has closed the connection")
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "goodbye", string(got))
	_, err = c.Write([]byte("you too"))
	require.NoError(t, err)
	require.Equal(t, "you too", string(h.hear(frame.Data).Body))
	_, err = c.Reattest(t.Context())
	require.ErrorContains(t, err, "the peer has closed the connection")
}

// TestPeerStopsAnswering: one that has said its last cannot be attested again,
// so that a side which wants that does not go on sending.
func TestPeerStopsAnswering(t *testing.T) {
	_, c, h := framedHand(t, func(cfg *Config) { cfg.Requirement.ReattestEvery = time.Minute })
	h.say(frame.Frame{Type: frame.Data, Body: []byte("goodbye")})
	require.NoError(t, h.conn.CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "goodbye", string(got))
	require.Eventually(t, func() bool {
		_, err = c.Write([]byte("secret"))
		return err != nil
	}, 10*time.Second, time.Millisecond)
	require.ErrorContains(t, err, "the peer has closed the connection")
}

// TestPeerVanishes: what is cut within a frame was not closed in good order. (A
// cut between records crypto/tls does not tell from it.)
func TestPeerVanishes(t *testing.T) {
	_, c, h := framedHand(t)
	h.say(frame.Frame{Type: frame.Data, Body: []byte("good")})
	got := make([]byte, 4)
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	h.raw([]byte{0xe5, 0xa7, 0xa1, 0x9c, 1, byte(frame.Data)})
	h.link.Close()
	_, err = c.Read(got)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NotErrorIs(t, err, ErrProtocol)
}

// TestFramedDeadlines are net.Conn's.
func TestFramedDeadlines(t *testing.T) {
	_, c, s := mutual(t)
	buffer := make([]byte, 1)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err := c.Read(buffer)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err = c.Read(buffer)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
	require.NoError(t, c.SetReadDeadline(time.Time{}))
	_, err = c.Reattest(t.Context())
	require.NoError(t, err, "a deadline of Read is not one of the connection")
	talk(t, c, s)
	require.NoError(t, c.SetReadDeadline(time.Time{}))

	waiting := make(chan error, 1)
	go func() {
		_, err := c.Read(buffer)
		waiting <- err
	}()
	time.Sleep(10 * time.Millisecond)
	require.NoError(t, c.SetReadDeadline(time.Now()))
	require.ErrorIs(t, <-waiting, os.ErrDeadlineExceeded)

	require.NoError(t, s.SetDeadline(time.Now().Add(-time.Second)))
	_, err = s.Write([]byte("x"))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// TestFramedClose unblocks everything, and waits until nothing is left.
func TestFramedClose(t *testing.T) {
	_, c, h := framedHand(t)
	results := make(chan error, 3)
	go func() {
		_, err := c.Read(make([]byte, 1))
		results <- err
	}()
	go func() {
		_, err := c.Reattest(context.Background())
		results <- err
	}()
	h.hear(frame.Request)
	go func() {
		_, err := c.Write(make([]byte, 64<<20)) // more than anybody keeps
		results <- err
	}()
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	_ = c.Close() // it may have no way to say goodbye
	require.Less(t, time.Since(start), prompt)
	for range 3 {
		select {
		case err := <-results:
			require.ErrorIs(t, err, net.ErrClosed)
		case <-time.After(prompt):
			require.FailNow(t, "something is still blocked")
		}
	}
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = c.Write([]byte{1})
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = c.Reattest(t.Context())
	require.ErrorIs(t, err, net.ErrClosed)
}

// TestSlowReader: what is not read holds up the sender, not the memory; and as
// long as it is little, attestations go on.
func TestSlowReader(t *testing.T) {
	_, c, s := mutual(t)
	data := make([]byte, 100<<10)
	_, err := s.Write(data)
	require.NoError(t, err)
	_, err = c.Reattest(t.Context())
	require.NoError(t, err)

	const total = 32 << 20
	sent := make(chan error, 1)
	go func() {
		_, err := s.Write(make([]byte, total))
		sent <- err
	}()
	time.Sleep(200 * time.Millisecond)
	select {
	case <-sent:
		require.FailNow(t, "32 MiB were sent, and nobody read them")
	default:
	}
	c.in.mu.Lock()
	held := len(c.in.data)
	c.in.mu.Unlock()
	require.LessOrEqual(t, held, maxAhead)
	n, err := io.CopyN(io.Discard, c, total+100<<10)
	require.NoError(t, err)
	require.EqualValues(t, total+100<<10, n)
	require.NoError(t, <-sent)
}

// TestDeafFramedPeer: a peer that reads nothing cannot put off its attestation.
func TestDeafFramedPeer(t *testing.T) {
	_, c, h := framedHand(t, func(cfg *Config) {
		cfg.Timeout = time.Second
		cfg.Requirement.ReattestEvery = 200 * time.Millisecond
	})
	_ = h // does nothing
	start := time.Now()
	_, err := c.Write(make([]byte, 64<<20))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(start), time.Second+2*prompt)
}

func TestInbox(t *testing.T) {
	t.Run("in order", func(t *testing.T) {
		b := newInbox(4)
		require.NoError(t, b.add([]byte("ab")))
		require.NoError(t, b.add([]byte("cd")))
		p := make([]byte, 3)
		n, err := b.read(p)
		require.NoError(t, err)
		require.Equal(t, "abc", string(p[:n]))
		b.end(io.EOF)
		n, err = b.read(p)
		require.NoError(t, err)
		require.Equal(t, "d", string(p[:n]))
		_, err = b.read(p)
		require.Equal(t, io.EOF, err)
		require.Equal(t, io.EOF, b.add([]byte("e")))
	})
	t.Run("more than the limit at once", func(t *testing.T) {
		b := newInbox(1)
		require.NoError(t, b.add([]byte("abc")))
		n, err := b.read(make([]byte, 8))
		require.NoError(t, err)
		require.Equal(t, 3, n)
	})
	t.Run("full", func(t *testing.T) {
		b := newInbox(2)
		require.NoError(t, b.add([]byte("ab")))
		added := make(chan error, 1)
		go func() { added <- b.add([]byte("c")) }()
		select {
		case <-added:
			require.FailNow(t, "there was no room")
		case <-time.After(20 * time.Millisecond):
		}
		_, err := b.read(make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, <-added)
	})
	t.Run("full, and then the end", func(t *testing.T) {
		b := newInbox(2)
		require.NoError(t, b.add([]byte("ab")))
		added := make(chan error, 1)
		go func() { added <- b.add([]byte("c")) }()
		b.end(net.ErrClosed)
		require.ErrorIs(t, <-added, net.ErrClosed)
	})
	t.Run("which end counts", func(t *testing.T) {
		b := newInbox(8)
		require.NoError(t, b.add([]byte("ab")))
		b.end(io.EOF)
		b.end(ErrStale)
		b.end(net.ErrClosed)
		b.end(io.EOF)
		n, err := b.read(make([]byte, 1))
		require.Zero(t, n)
		require.Equal(t, ErrStale, err)
	})
	t.Run("empty reads", func(t *testing.T) {
		b := newInbox(8)
		n, err := b.read(nil)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}
