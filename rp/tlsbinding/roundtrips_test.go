// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"crypto"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp"
)

// These tests run in a bubble whose clock goes on when everybody waits. So what
// is computed takes no time, and a duration is a count: of trips over the
// network, of a TPM's signatures, of a verifier's answers.

// trip is how long the network takes one way.
const trip = 20 * time.Millisecond

// wire is a network between two ends, who are far apart.
type wire struct {
	mu sync.Mutex
	// flights are the ends that sent something: each once for all that it sent
	// before the other one answered.
	flights []string
}

// lay makes a wire and its two ends.
func lay() (client, server net.Conn, w *wire) {
	w = &wire{}
	client, nearClient := net.Pipe()
	nearServer, server := net.Pipe()
	go w.carry("client", nearClient, nearServer)
	go w.carry("server", nearServer, nearClient)
	return client, server, w
}

func (w *wire) carry(from string, in, out net.Conn) {
	type piece struct {
		data    []byte
		arrives time.Time
	}
	under := make(chan piece, 1024)
	go func() {
		defer out.Close()
		for p := range under {
			time.Sleep(time.Until(p.arrives))
			if _, err := out.Write(p.data); err != nil {
				break
			}
		}
		for range under { // nobody is there to take it
		}
	}()
	defer close(under)
	for {
		buf := make([]byte, 32<<10)
		n, err := in.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		if len(w.flights) == 0 || w.flights[len(w.flights)-1] != from {
			w.flights = append(w.flights, from)
		}
		w.mu.Unlock()
		under <- piece{buf[:n], time.Now().Add(trip)}
	}
}

func (w *wire) sent() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.flights)
}

// timing is how long either side took until it could send application data,
// and what went over the wire until both could.
type timing struct {
	client, server time.Duration
	flights        []string
}

func timed(t *testing.T, client, server func(net.Conn) (*tls.Conn, error)) (m timing) {
	t.Helper()
	c, s, w := lay()
	start := time.Now()
	var wg sync.WaitGroup
	var clientEnd, serverEnd *tls.Conn
	var clientErr, serverErr error
	wg.Go(func() {
		serverEnd, serverErr = server(s)
		m.server = time.Since(start)
	})
	clientEnd, clientErr = client(c)
	m.client = time.Since(start)
	wg.Wait()
	require.NoError(t, clientErr)
	require.NoError(t, serverErr)
	m.flights = w.sent()
	// Neither end waits for the other to take note of the end.
	clientEnd.NetConn().Close()
	serverEnd.NetConn().Close()
	return m
}

func plainSide(side func(net.Conn, *tls.Config) *tls.Conn, cfg *tls.Config) func(net.Conn) (*tls.Conn, error) {
	cfg = harden(cfg, nil)
	return func(conn net.Conn) (*tls.Conn, error) {
		c := side(conn, cfg)
		return c, c.Handshake()
	}
}

func attestedSide(side func(context.Context, net.Conn, *Config) (*tls.Conn, error), cfg *Config) func(net.Conn) (*tls.Conn, error) {
	return func(conn net.Conn) (*tls.Conn, error) { return side(context.Background(), conn, cfg) }
}

// TestRoundTrips counts what attestation costs on a long way: one round trip for
// a server that attests, two for a client that does, and two if both do.
func TestRoundTrips(t *testing.T) {
	const round = 2 * trip
	alternating := func(n int) []string {
		var flights []string
		for i := range n {
			flights = append(flights, []string{"client", "server"}[i%2])
		}
		return flights
	}
	for _, tt := range []struct {
		name           string
		attests        [2]bool // client, server
		passport       bool
		client, server time.Duration
		flights        int
	}{
		// Until a client of plain TLS may send there is one round trip.
		{"TLS", [2]bool{false, false}, false, round, round + trip, 3},
		{"server attests", [2]bool{false, true}, false, 2 * round, 2*round + trip, 5},
		{"server shows passport", [2]bool{false, true}, true, 2 * round, 2*round + trip, 5},
		{"client attests", [2]bool{true, false}, false, 3 * round, 2*round + trip, 6},
		{"both attest", [2]bool{true, true}, false, 3 * round, 2*round + trip, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 2)
				cfgs := [2]*Config{w.client(nil, nil), w.server(nil, nil)}
				for i, attests := range tt.attests {
					switch {
					case attests && tt.passport:
						cfgs[i].Credential = w.machines[i].credential(w.passport(w.machines[i]))
						cfgs[1-i].Requirement = w.requirement(w.byPassport)
					case attests:
						cfgs[i].Credential = w.machines[i].credential()
						cfgs[1-i].Requirement = w.requirement()
					}
				}
				client, server := attestedSide(Client, cfgs[0]), attestedSide(Server, cfgs[1])
				if tt.attests == [2]bool{} {
					client, server = plainSide(tls.Client, cfgs[0].TLS), plainSide(tls.Server, cfgs[1].TLS)
				}
				m := timed(t, client, server)
				require.Equal(t, tt.client, m.client, "until the client may send")
				require.Equal(t, tt.server, m.server, "until the server may send")
				require.Equal(t, alternating(tt.flights), m.flights)
			})
		})
	}
}

const (
	signature = 100 * time.Millisecond // of a TPM
	answer    = 20 * time.Millisecond  // of a verifier
)

// slowTPM signs as a TPM does: one at a time, and not soon.
type slowTPM struct {
	*machine
	turn       sync.Mutex
	signatures int
}

func (s *slowTPM) work(signatures int) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.signatures += signatures
	time.Sleep(time.Duration(signatures) * signature)
}

// Attest certifies and quotes.
func (s *slowTPM) Attest(ctx context.Context, nonce []byte) ([]byte, error) {
	s.work(2)
	return s.machine.Attest(ctx, nonce)
}

func (s *slowTPM) Public() crypto.PublicKey { return s.tik.Public() }

func (s *slowTPM) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.work(1)
	return s.tik.Sign(rand, digest, opts)
}

func (s *slowTPM) credential() *Credential {
	return s.machine.credential(func(cfg *CredentialConfig) {
		cfg.Attester, cfg.Certificate.PrivateKey = s, s
	})
}

// farVerifier is a verifier that takes time.
type farVerifier struct {
	rp.Verifier
	answer time.Duration
	asked  *[]string
}

func (v farVerifier) NewSession(ctx context.Context, nonce []byte) (rp.Session, error) {
	*v.asked = append(*v.asked, "open")
	time.Sleep(v.answer)
	s, err := v.Verifier.NewSession(ctx, nonce)
	return farSession{s, v}, err
}

type farSession struct {
	rp.Session
	v farVerifier
}

func (s farSession) Appraise(ctx context.Context, e rp.Evidence) (*rp.AttestationResult, error) {
	*s.v.asked = append(*s.v.asked, "appraise")
	time.Sleep(s.v.answer)
	return s.Session.Appraise(ctx, e)
}

// timeline collects the steps of one side.
type timeline struct {
	start time.Time
	mu    sync.Mutex
	steps map[Step][2]time.Duration // from, to
	order []Step
}

func newTimeline() *timeline {
	return &timeline{start: time.Now(), steps: map[Step][2]time.Duration{}}
}

func (l *timeline) trace() *Trace {
	return &Trace{StepDone: func(step Step, start time.Time, took time.Duration, _ error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		from := start.Sub(l.start)
		l.steps[step] = [2]time.Duration{from, from + took}
		l.order = append(l.order, step)
	}}
}

func (l *timeline) String() string {
	var b strings.Builder
	for _, step := range l.order {
		fmt.Fprintf(&b, "  %-42s %6.1f … %6.1f ms\n", step, ms(l.steps[step][0]), ms(l.steps[step][1]))
	}
	return b.String()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// TestCriticalPath: beside the network's trips, a connection to a server that
// attests takes three TPM signatures and one answer of the verifier. The session
// is opened meanwhile. When both attest, they do so at the same time.
func TestCriticalPath(t *testing.T) {
	for _, mutual := range []bool{false, true} {
		t.Run(fmt.Sprintf("mutual=%v", mutual), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 2)
				tpm, clientsTPM := &slowTPM{machine: w.machines[0]}, &slowTPM{machine: w.machines[1]}
				var asked, askedByServer []string
				client := w.client(nil, w.requirement(func(r *Requirement) { r.Verifier = farVerifier{w.verifier, answer, &asked} }))
				server := w.server(tpm.credential(), nil)
				trips := 4 * trip // two round trips: see TestRoundTrips
				if mutual {
					client.Credential = clientsTPM.credential()
					server.Requirement = w.requirement(func(r *Requirement) { r.Verifier = farVerifier{w.verifier, answer, &askedByServer} })
					// The client begins when the server's request is there, a trip
					// after the server began; its answer and the verdict travel.
					trips = 6 * trip
				}
				line := newTimeline()
				client.Trace = line.trace()
				m := timed(t, attestedSide(Client, client), attestedSide(Server, server))
				t.Logf("the client's steps:\n%v", line)

				require.Equal(t, trips+3*signature+answer, m.client)
				require.Equal(t, 3, tpm.signatures)
				require.Equal(t, []string{"open", "appraise"}, asked)
				if mutual {
					require.Equal(t, 3, clientsTPM.signatures)
					require.Equal(t, []string{"open", "appraise"}, askedByServer)
				}
				opened, waited := line.steps[StepSession], line.steps[StepPeer]
				require.Less(t, opened[1], waited[1], "the session is opened while the peer's TPM works")
				appraised := line.steps[StepAppraise]
				require.Equal(t, answer, appraised[1]-appraised[0])
			})
		})
	}
}

// A verifier that is slower than the TPM is on the critical path with both its
// answers, and the TPM is not.
func TestCriticalPathOfSlowVerifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 500 * time.Millisecond
		w := newWorld(t, 1)
		tpm := &slowTPM{machine: w.machines[0]}
		var asked []string
		client := w.client(nil, w.requirement(func(r *Requirement) { r.Verifier = farVerifier{w.verifier, slow, &asked} }))
		m := timed(t, attestedSide(Client, client), attestedSide(Server, w.server(tpm.credential(), nil)))
		// The session is asked for when the server's hello is there.
		require.Equal(t, 4*trip+slow+slow, m.client)
	})
}
