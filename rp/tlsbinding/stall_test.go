// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"crypto"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/internal/expauth"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/tlsbinding/internal/frame"
)

// prompt is how soon a side has to come back when its time is up, on a machine
// that has other things to do.
const prompt = 3 * time.Second

// steps are the places at which one waits for the peer, who does all that comes
// before and then holds still.
var steps = []Step{StepTLS, StepHello, StepQueue, StepPeer, StepVerdict}

// still has a peer hold still at a step, of a mutual attestation, and returns
// how the side under test comes to its end. Half of a frame may come, too.
func still(t *testing.T, w *world, v rp.Verifier, self expauth.Role, place Step, half bool, limit func(*Config) (context.Context, context.CancelFunc)) (took time.Duration, err error) {
	t.Helper()
	client := w.client(w.machines[1].credential(), w.requirement())
	server := w.server(w.machines[0].credential(), w.requirement())
	mine, others := client, server
	if self == expauth.Server {
		mine, others = others, mine
	}
	mine.Requirement.Verifier = v
	c, s := pipe(t)
	if self == expauth.Server {
		c, s = s, c
	}
	ctx, cancel := limit(mine)
	defer cancel()
	var (
		wg    sync.WaitGroup
		ended = make(chan struct{})
		ready = make(chan struct{})
	)
	wg.Go(func() {
		defer close(ended)
		start := time.Now()
		_, err = handshake(ctx, self, c, mine, false)
		took = time.Since(start)
	})
	wg.Go(func() {
		defer close(ready)
		if place == StepTLS {
			return
		}
		h := &hand{session: &session{cfg: others, self: self.Peer(), link: newLink(s)}, t: t, id: firstID(self)}
		require.NoError(t, h.secure(t.Context()))
		upTo(h, place, w)
		if half {
			h.raw([]byte{0xe5, 0xa7, 0xa1, 0x9c, 1, byte(frame.Hello)})
		}
	})
	<-ready
	if mine.Timeout > 10*time.Second { // cancelled, rather than out of time
		time.Sleep(500 * time.Millisecond) // it may be behind
		cancel()
		start := time.Now()
		<-ended
		took = time.Since(start)
	}
	wg.Wait()
	return took, err
}

// TestStalledPeer: wherever a peer stops, the other side ends at its deadline or
// when it is told to, and says where it was.
func TestStalledPeer(t *testing.T) {
	w := newWorld(t, 2)
	const limit = time.Second
	because := errors.New("the caller has changed his mind")
	type stall struct {
		name  string
		self  expauth.Role
		place Step
		half  bool // of a frame comes
		want  error
		v     counting
		err   error
		took  time.Duration
	}
	var stalls []*stall
	for _, self := range []expauth.Role{expauth.Client, expauth.Server} {
		for _, place := range steps {
			name := self.String() + " " + string(place)
			stalls = append(stalls,
				&stall{name: name, self: self, place: place, want: context.DeadlineExceeded},
				&stall{name: name + ", cancelled", self: self, place: place, want: because})
			if place != StepTLS {
				stalls = append(stalls, &stall{name: name + ", in a frame", self: self, place: place, half: true, want: context.DeadlineExceeded})
			}
		}
	}
	var wg sync.WaitGroup
	for _, s := range stalls {
		wg.Go(func() { // all at a time: there is a lot of waiting
			s.v.Verifier = w.verifier
			s.took, s.err = still(t, w, &s.v, s.self, s.place, s.half, func(cfg *Config) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancelCause(t.Context())
				if s.want == context.DeadlineExceeded {
					cfg.Timeout = limit
				}
				return ctx, func() { cancel(because) }
			})
		})
	}
	wg.Wait()
	for _, s := range stalls {
		t.Run(s.name, func(t *testing.T) {
			require.ErrorIs(t, s.err, s.want)
			at(t, s.err, s.place)
			if s.want == context.DeadlineExceeded {
				require.GreaterOrEqual(t, s.took, limit)
				s.took -= limit
			}
			require.Less(t, s.took, prompt)
			// A session is opened when the peer's key is known, and closed in
			// any case.
			opened := int32(1)
			if s.place == StepTLS || s.place == StepHello {
				opened = 0
			}
			require.Zero(t, s.v.open.Load())
			require.Equal(t, opened, s.v.ever.Load())
		})
	}
}

// stopSigner is a key that takes its time, and can be stopped.
type stopSigner struct {
	crypto.Signer
	ctx     context.Context
	waiting func()
}

func (s stopSigner) WithContext(ctx context.Context) crypto.Signer {
	return stopSigner{s.Signer, ctx, s.waiting}
}

func (s stopSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	s.waiting()
	<-s.ctx.Done()
	return nil, context.Cause(s.ctx)
}

// TestCancelledWork: the same while this side works, rather than its peer.
func TestCancelledWork(t *testing.T) {
	w := newWorld(t, 2)
	because := errors.New("the caller has changed his mind")
	for _, place := range []Step{StepEvidence, StepSign, StepSession, StepAppraise} {
		for _, self := range []expauth.Role{expauth.Client, expauth.Server} {
			t.Run(self.String()+" "+string(place), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				working := make(chan struct{})
				hold := func(ctx context.Context) error {
					close(working)
					<-ctx.Done()
					return context.Cause(ctx)
				}
				v := &counting{Verifier: w.verifier}
				m, o := w.machines[0], w.machines[1]
				own := func(cfg *CredentialConfig) {
					switch place {
					case StepEvidence:
						cfg.Attester = attesterFunc(func(ctx context.Context, _ []byte) ([]byte, error) { return nil, hold(ctx) })
					case StepSign:
						cfg.Certificate.PrivateKey = stopSigner{Signer: m.tik, waiting: func() { close(working) }}
					case StepSession:
						v.before = hold
					case StepAppraise:
						v.appraising = func(ctx context.Context, _ *rp.Evidence) error { return hold(ctx) }
					}
				}
				// One direction, so that this is all that is done.
				mine, others := new(Config), new(Config)
				switch place {
				case StepEvidence, StepSign:
					mine.Credential, others.Requirement = m.credential(own), w.requirement()
				default:
					own(nil)
					mine.Requirement = w.requirement(func(r *Requirement) { r.Verifier = v })
					others.Credential = o.credential()
				}
				if self == expauth.Server {
					mine, others = others, mine
				}
				client := w.client(mine.Credential, mine.Requirement)
				server := w.server(others.Credential, others.Requirement)
				// A session is opened ahead of the authenticator, so that one
				// waits for the two at the same time.
				checked := make(chan struct{})
				trace := &Trace{StepDone: func(step Step, _ time.Time, _ time.Duration, _ error) {
					if step == StepCheck {
						close(checked)
					}
				}}
				if self == expauth.Client {
					client.Trace = trace
				} else {
					server.Trace = trace
				}
				c, s := pipe(t)
				var clientErr, serverErr error
				var ended [2]time.Time
				contexts := map[expauth.Role]context.Context{expauth.Client: t.Context(), expauth.Server: t.Context()}
				contexts[self] = ctx
				var wg sync.WaitGroup
				wg.Go(func() {
					_, clientErr = Client(contexts[expauth.Client], c, client)
					ended[0] = time.Now()
				})
				wg.Go(func() {
					_, serverErr = Server(contexts[expauth.Server], s, server)
					ended[1] = time.Now()
				})
				<-working
				if place == StepSession {
					<-checked
				}
				start := time.Now()
				cancel(because)
				wg.Wait()
				require.Less(t, ended[0].Sub(start), prompt)
				require.Less(t, ended[1].Sub(start), prompt)
				err, told := clientErr, serverErr
				if self == expauth.Server {
					err, told = told, err
				}
				require.ErrorIs(t, err, because)
				at(t, err, place)
				refusedAs(t, told, RefusedTimeout, "timeout")
				require.Zero(t, v.open.Load())
			})
		}
	}
}

// TestCancelledBefore: nothing begins.
func TestCancelledBefore(t *testing.T) {
	w := newWorld(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Dial(ctx, "tcp", "127.0.0.1:1", w.client(nil, w.requirement()))
	require.ErrorIs(t, err, context.Canceled)
	c, _ := pipe(t)
	_, err = Client(ctx, c, w.client(nil, w.requirement()))
	require.ErrorIs(t, err, context.Canceled)
	at(t, err, StepTLS)
	_, err = c.Write([]byte{1})
	require.ErrorIs(t, err, net.ErrClosed)
}

// TestDeafPeer: a peer that does not read holds up whoever writes no longer than
// anything else.
func TestDeafPeer(t *testing.T) {
	w := newWorld(t, 1)
	deaf, s := net.Pipe() // without any buffer
	defer deaf.Close()
	server := w.server(w.machines[0].credential(), nil)
	server.Timeout = 300 * time.Millisecond
	done := make(chan error, 1)
	start := time.Now()
	go func() {
		_, err := Server(t.Context(), s, server)
		done <- err
	}()
	h := &hand{session: &session{cfg: w.client(nil, w.requirement()), self: expauth.Client, link: newLink(deaf)}, t: t, id: serverRequestID}
	require.NoError(t, h.secure(t.Context()))
	_, ask := h.ask()
	h.say(h.hello(), ask) // and does not listen to the answer
	err := <-done
	require.Less(t, time.Since(start), 300*time.Millisecond+prompt)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	at(t, err, "sending the hello")
}

// TestTrace: each step is told once, with its error.
func TestTrace(t *testing.T) {
	w := newWorld(t, 2)
	type done struct {
		err error
		n   int
	}
	tracing := func(cfg *Config) func() map[Step]done {
		var mu sync.Mutex
		steps := map[Step]done{}
		cfg.Trace = &Trace{StepDone: func(step Step, start time.Time, took time.Duration, err error) {
			mu.Lock()
			defer mu.Unlock()
			require.False(t, start.IsZero())
			require.GreaterOrEqual(t, took, time.Duration(0))
			steps[step] = done{err, steps[step].n + 1}
		}}
		return func() map[Step]done {
			mu.Lock()
			defer mu.Unlock()
			return steps
		}
	}
	client, server := w.client(w.machines[1].credential(), w.requirement()), w.server(w.machines[0].credential(), w.requirement())
	ofClient, ofServer := tracing(client), tracing(server)
	e := connect(t, client, server)
	require.NoError(t, e.clientErr)
	require.NoError(t, e.serverErr)
	for _, got := range []map[Step]done{ofClient(), ofServer()} {
		for _, step := range append(steps, StepEvidence, StepSign, StepSession, StepCheck, StepAppraise) {
			require.Equal(t, done{nil, 1}, got[step], step)
		}
	}
	client = w.client(nil, w.requirement())
	ofClient = tracing(client)
	w.machines[0].extend()
	e = connect(t, client, w.server(w.machines[0].credential(), nil))
	require.Error(t, e.clientErr)
	var refused *rp.PolicyError
	require.ErrorAs(t, ofClient()[StepAppraise].err, &refused)
	require.NoError(t, ofClient()[StepCheck].err)
	require.Zero(t, ofClient()[StepQueue].n, "this side was not asked")
}
