// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/internal/expauth"
	"github.com/veraison/attested-tls/rp/tlsbinding/internal/frame"
)

// listen makes a listener over loopback.
func listen(t testing.TB, cfg *Config) *Listener {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l, err := NewListener(inner, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// echo accepts connections and sends back what they say, until the listener is
// closed.
func echo(t testing.TB, l *Listener) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
}

// ping sends something there and back.
func ping(conn net.Conn, text string) error {
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("got %q", got)
	}
	return nil
}

// TestConcurrentHandshakes: 500 at a time, each with its own peer.
func TestConcurrentHandshakes(t *testing.T) {
	const n = 500
	w := newWorld(t, 2)
	v := &counting{Verifier: w.verifier}
	server := w.server(w.machines[0].credential(func(cfg *CredentialConfig) { cfg.MaxPending = n }), nil)
	server.Timeout, server.HelloTimeout = 2*time.Minute, time.Minute
	l := listen(t, server)
	echo(t, l)
	client := w.client(nil, w.requirement(func(r *Requirement) { r.Verifier = v }))
	client.Timeout, client.HelloTimeout = 2*time.Minute, time.Minute
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			conn, err := Dial(t.Context(), "tcp", l.Addr().String(), client)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if err := ping(conn, fmt.Sprintf("connection %d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	v.noneOpen(t, n)
}

// TestStalledPeersHoldUpNobody: a good client does not notice 200 that are
// silent, at whatever step.
func TestStalledPeersHoldUpNobody(t *testing.T) {
	const n = 200
	w := newWorld(t, 2)
	server := w.server(w.machines[0].credential(), w.requirement())
	l := listen(t, server)
	echo(t, l)
	address := l.Addr().String()
	for i := range n {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer conn.Close()
		if i%20 != 0 {
			continue // says nothing at all
		}
		h := &hand{
			session: &session{cfg: w.client(w.machines[1].credential(), w.requirement()), self: expauth.Client, link: newLink(conn)},
			t:       t, id: serverRequestID,
		}
		require.NoError(t, h.secure(t.Context()))
		upTo(h, []Step{StepHello, StepQueue, StepPeer, StepVerdict}[i/20%4], w)
	}
	start := time.Now()
	conn, err := Dial(t.Context(), "tcp", address, w.client(w.machines[1].credential(), w.requirement()))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, ping(conn, "hello"))
	require.Less(t, time.Since(start), prompt)
}

// TestEviction: when there are as many handshakes as there may be, the peer that
// was silent the longest makes room, and is told.
func TestEviction(t *testing.T) {
	w := newWorld(t, 2)
	server := w.server(w.machines[0].credential(), nil)
	server.MaxHandshakes = 2
	var log journal
	server.Logger = slog.New(slog.NewTextHandler(&log, nil))
	l := listen(t, server)
	echo(t, l)
	silent := func() *hand {
		conn, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		h := &hand{session: &session{cfg: w.client(nil, w.requirement()), self: expauth.Client, link: newLink(conn)}, t: t, id: serverRequestID}
		require.NoError(t, h.secure(t.Context()))
		require.NoError(t, h.conn.SetDeadline(time.Now().Add(20*time.Second)))
		return h
	}
	first, second := silent(), silent()
	start := time.Now()
	conn, err := Dial(t.Context(), "tcp", l.Addr().String(), w.client(nil, w.requirement()))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, ping(conn, "hello"))
	require.Less(t, time.Since(start), patience+prompt)
	refused := first.refusal()
	require.Equal(t, RefusedBusy, refused.Code)
	require.Contains(t, refused.Reason, "others wait")
	log.has(t, ErrBusy.Error())
	// The second may go on.
	r, ask := second.ask()
	second.greet(ask)
	_, err = second.verify(t.Context(), r, second.hear(frame.Authenticator).Body)
	require.NoError(t, err)
	r.opened.close()
	second.say(frame.Frame{Type: frame.Accept})
	second.hear(frame.Accept)
}

// TestWorkingIsNotSilence: a peer that waits for this end is not the one to go.
func TestWorkingIsNotSilence(t *testing.T) {
	w := newWorld(t, 1)
	m := w.machines[0]
	working, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	server := w.server(m.credential(attesting(func(ctx context.Context, nonce []byte) ([]byte, error) {
		once.Do(func() {
			close(working)
			<-proceed
		})
		return m.Attest(ctx, nonce)
	})), nil)
	server.MaxHandshakes = 1
	l := listen(t, server)
	echo(t, l)
	dial := func() <-chan error {
		done := make(chan error, 1)
		go func() {
			conn, err := Dial(t.Context(), "tcp", l.Addr().String(), w.client(nil, w.requirement()))
			if err == nil {
				err = errors.Join(ping(conn, "hello"), conn.Close())
			}
			done <- err
		}()
		return done
	}
	first := dial()
	<-working
	second := dial()
	time.Sleep(patience + 200*time.Millisecond)
	select {
	case err := <-first:
		require.FailNow(t, "the first was ended", "%v", err)
	case err := <-second:
		require.FailNow(t, "there was no room", "%v", err)
	default:
	}
	close(proceed)
	require.NoError(t, <-first)
	require.NoError(t, <-second)
}

// TestListenerClose ends what is under way, and leaves alone what was accepted.
func TestListenerClose(t *testing.T) {
	w := newWorld(t, 1)
	var log journal
	server := w.server(w.machines[0].credential(), nil)
	server.Logger = slog.New(slog.NewTextHandler(&log, nil))
	secure := make(chan struct{}, 2)
	server.Trace = &Trace{StepDone: func(step Step, _ time.Time, _ time.Duration, _ error) {
		if step == StepTLS {
			secure <- struct{}{}
		}
	}}
	l := listen(t, server)
	done := make(chan *ends, 1)
	go func() {
		var e ends
		conn, err := Dial(context.Background(), "tcp", l.Addr().String(), w.client(nil, w.requirement()))
		e.client, e.clientErr = conn, err
		done <- &e
	}()
	accepted, err := l.Accept()
	require.NoError(t, err)
	e := <-done
	require.NoError(t, e.clientErr)
	defer e.client.Close()
	defer accepted.Close()

	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	h := &hand{session: &session{cfg: w.client(nil, w.requirement()), self: expauth.Client, link: newLink(conn)}, t: t}
	require.NoError(t, h.secure(t.Context()))
	<-secure
	<-secure
	waiting := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		waiting <- err
	}()
	start := time.Now()
	require.NoError(t, l.Close())
	require.Less(t, time.Since(start), prompt)
	require.ErrorIs(t, <-waiting, net.ErrClosed)
	require.Equal(t, RefusedTimeout, h.refusal().Code)
	log.has(t, "the listener is closed")
	require.NoError(t, l.Close(), "again")
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	talk(t, e.client, accepted)
}

// TestShutdown lets what is under way come to its end.
func TestShutdown(t *testing.T) {
	w := newWorld(t, 1)
	m := w.machines[0]
	working, proceed := make(chan struct{}), make(chan struct{})
	server := w.server(m.credential(attesting(func(ctx context.Context, nonce []byte) ([]byte, error) {
		close(working)
		select {
		case <-proceed:
			return m.Attest(ctx, nonce)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	})), nil)
	begin := func(l *Listener) <-chan error {
		done := make(chan error, 1)
		go func() {
			conn, err := Dial(context.Background(), "tcp", l.Addr().String(), w.client(nil, w.requirement()))
			if err == nil {
				err = errors.Join(ping(conn, "hello"), conn.Close())
			}
			done <- err
		}()
		<-working
		return done
	}
	t.Run("in time", func(t *testing.T) {
		l := listen(t, server)
		echo(t, l)
		client := begin(l)
		ended := make(chan error, 1)
		go func() { ended <- l.Shutdown(context.Background()) }()
		require.Eventually(t, func() bool {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err == nil {
				conn.Close()
			}
			return err != nil
		}, 10*time.Second, 5*time.Millisecond, "nobody else is let in")
		select {
		case <-ended:
			require.FailNow(t, "it does not wait for the handshake")
		default:
		}
		close(proceed)
		require.NoError(t, <-client)
		require.NoError(t, <-ended)
		_, err := l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		require.NoError(t, l.Close())
	})
	working, proceed = make(chan struct{}), make(chan struct{})
	t.Run("out of time", func(t *testing.T) {
		l := listen(t, server)
		echo(t, l)
		client := begin(l)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, l.Shutdown(ctx), context.DeadlineExceeded)
		refusedAs(t, <-client, RefusedTimeout, "timeout")
	})
}

// flaky fails to accept now and then, as a listener does when there are too many
// open files, and at last for good.
type flaky struct {
	net.Listener
	n    atomic.Int32
	last error
}

type temporary struct{ error }

func (temporary) Temporary() bool { return true }

func (f *flaky) Accept() (net.Conn, error) {
	switch n := f.n.Add(1); {
	case n <= 3:
		return nil, temporary{errors.New("too many open files")}
	case n == 5:
		return nil, f.last
	}
	return f.Listener.Accept()
}

func TestAcceptErrors(t *testing.T) {
	w := newWorld(t, 1)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	last := errors.New("the network is gone")
	l, err := NewListener(&flaky{Listener: inner, last: last}, w.server(w.machines[0].credential(), nil))
	require.NoError(t, err)
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := Dial(context.Background(), "tcp", l.Addr().String(), w.client(nil, w.requirement()))
		if err == nil {
			err = conn.Close()
		}
		done <- err
	}()
	conn, err := l.Accept()
	require.NoError(t, err)
	require.NoError(t, <-done)
	conn.Close()
	_, err = l.Accept()
	require.ErrorIs(t, err, last)
}

// TestNotOneByteMore: what follows the exchange in the same flight is the
// application's, to the last byte.
func TestNotOneByteMore(t *testing.T) {
	w := newWorld(t, 2)
	for _, self := range []expauth.Role{expauth.Client, expauth.Server} {
		t.Run("to the "+self.String(), func(t *testing.T) {
			mine := w.client(w.machines[1].credential(), w.requirement())
			others := w.server(w.machines[0].credential(), w.requirement())
			if self == expauth.Server {
				mine, others = others, mine
			}
			a, b := pipe(t)
			type result struct {
				got []byte
				err error
			}
			done := make(chan result, 1)
			go func() {
				s, err := handshake(context.Background(), self, a, mine, false)
				if err != nil {
					done <- result{err: err}
					return
				}
				got, err := io.ReadAll(s.conn)
				s.conn.Close()
				done <- result{got, err}
			}()
			h := &hand{session: &session{cfg: others, self: self.Peer(), link: newLink(b)}, t: t, id: firstID(self)}
			require.NoError(t, h.secure(t.Context()))
			require.NoError(t, h.conn.SetDeadline(time.Now().Add(20*time.Second)))
			upTo(h, StepVerdict, w)
			// Application data that looks like frames, in one record with the
			// accept.
			accept, err := frame.Frame{Type: frame.Accept}.Append(nil)
			require.NoError(t, err)
			data := append(append(accept[:len(accept):len(accept)], accept...), "and so on"...)
			h.raw(append(accept[:len(accept):len(accept)], data...))
			require.NoError(t, h.conn.CloseWrite())
			r := <-done
			require.NoError(t, r.err)
			require.Equal(t, data, r.got)
		})
	}
}

// TestLog: who logs in, and who does not.
func TestLog(t *testing.T) {
	w := newWorld(t, 2)
	var log journal
	server := w.server(w.machines[0].credential(), w.requirement())
	server.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	e := connect(t, w.client(w.machines[1].credential(), w.requirement()), server)
	require.NoError(t, e.clientErr)
	log.has(t, `level=DEBUG msg="attested handshake"`)
	log.has(t, "showed=")
	log.has(t, "peer=")
	log.has(t, e.client.LocalAddr().String())
	connect(t, w.client(nil, w.requirement()), server)
	log.has(t, `level=INFO msg="attested handshake failed"`)
	log.has(t, "no common way to attest")
}
