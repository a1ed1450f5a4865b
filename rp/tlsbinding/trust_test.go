// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/internal/expauth"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/tlsbinding/internal/frame"
)

// serveOn has a handler answer on a listener until the test ends.
func serveOn(t *testing.T, l net.Listener, h http.Handler) {
	t.Helper()
	s := &http.Server{Handler: h}
	HookServer(s)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() {
		s.Close()
		wg.Wait()
	})
}

// A base that spoke HTTP/2 has a pool of its own, of connections that nobody
// attested.
func TestTransportTakesNoConnectionsOfItsBase(t *testing.T) {
	w := newWorld(t, 1)
	var plainly, attestedly atomic.Int32
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	own := w.issue(evidencetest.ECKey(t, elliptic.P256()))
	serveOn(t, tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{own}, NextProtos: NextProtos()}),
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { plainly.Add(1) }))
	base := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots, ServerName: serverName}}
	//lint:ignore SA1019 what older programs do
	require.NoError(t, http2.ConfigureTransport(base))
	defer base.CloseIdleConnections()
	url := "https://" + plain.Addr().String() + "/"
	r, err := (&http.Client{Transport: base}).Get(url)
	require.NoError(t, err)
	r.Body.Close()

	cfg := w.server(w.machines[0].credential(), nil)
	cfg.TLS.NextProtos = NextProtos()
	l := listen(t, cfg)
	serveOn(t, l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { attestedly.Add(1) }))
	transport, err := NewTransport(w.client(nil, w.requirement()), base)
	require.NoError(t, err)
	defer transport.CloseIdleConnections()
	transport.inner.DialTLSContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return transport.dial(ctx, network, l.Addr().String()) // the same name, attested
	}
	r, err = (&http.Client{Transport: transport}).Get(url)
	require.NoError(t, err)
	r.Body.Close()
	_, known := PeerFromContext(r.Request.Context())
	require.True(t, known)
	require.EqualValues(t, 1, plainly.Load())
	require.EqualValues(t, 1, attestedly.Load())
}

// Once a side has accepted, the peer may take the next byte for application data.
func TestNoFrameAfterAccept(t *testing.T) {
	w := newWorld(t, 1)
	a, b := pipe(t)
	ctx, cancel := context.WithCancel(t.Context())
	cfg := w.client(nil, w.requirement())
	cfg.Trace = &Trace{StepDone: func(s Step, _ time.Time, _ time.Duration, err error) {
		if s == StepVerdict && err == nil {
			time.Sleep(100 * time.Millisecond) // until the verdict of this side is sent, too
			cancel()
			time.Sleep(10 * time.Millisecond)
		}
	}}
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := Server(context.Background(), b, w.server(w.machines[0].credential(), nil))
		if err != nil {
			return
		}
		defer conn.Close()
		got, _ := io.ReadAll(conn)
		require.Empty(t, got)
	})
	_, err := Client(ctx, a, cfg)
	require.ErrorIs(t, err, context.Canceled)
	wg.Wait()
}

// unreachable is a verifier's keys that cannot be looked for again.
type unreachable struct{ ear.KeySource }

func (unreachable) Refresh(context.Context) ([]ear.Key, error) {
	return nil, errors.New(`Get "https://verifier.internal:8443": dial tcp 10.1.2.3:8443`)
}

// The peer is told what is wrong with it, and not what this side knows, whom it
// accepts, or where its verifier is.
func TestWhatIsTold(t *testing.T) {
	w := newWorld(t, 1)
	m := w.machines[0]
	stranger, err := ear.NewKey(evidencetest.ECKey(t, elliptic.P256()).Public())
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		change     []func(*Requirement)
		show       []func(*CredentialConfig)
		told       string
		never      []string
		deciderHas string
	}{
		"a policy of one's own": {
			change: []func(*Requirement){func(r *Requirement) {
				r.Policy = func(*rp.AttestationResult) error { return errors.New("my reason") }
			}},
			told: "appraisal", never: []string{"my reason"}, deciderHas: "my reason",
		},
		"whom else is accepted": {
			change: []func(*Requirement){func(r *Requirement) { r.Instances = [][]byte{{0xaa, 1}, {0xbb, 2}} }},
			told:   "instance (kid) is ", never: []string{"aa01", "bb02"}, deciderHas: "aa01",
		},
		"where the verifier is": {
			change: []func(*Requirement){w.byPassport, func(r *Requirement) { r.Issuers[0].Keys = unreachable{ear.Pin(stranger)} }},
			show:   []func(*CredentialConfig){w.passport(m)},
			told:   "the passport is refused", never: []string{"verifier.internal", "10.1.2.3"}, deciderHas: "verifier.internal",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := connect(t, w.client(nil, w.requirement(tt.change...)), w.server(m.credential(tt.show...), nil))
			require.ErrorContains(t, e.clientErr, tt.deciderHas)
			var refused *RefusalError
			require.ErrorAs(t, e.serverErr, &refused)
			require.Equal(t, RefusedAppraisal, refused.Code)
			require.Contains(t, refused.Reason, tt.told)
			for _, secret := range tt.never {
				require.NotContains(t, refused.Reason, secret)
			}
		})
	}
}

// The authorities of the configuration that GetConfigForClient chose are those
// of the attested certificate.
func TestChosenAuthorities(t *testing.T) {
	w, tenant := newWorld(t, 1), newWorld(t, 1)
	for name, tt := range map[string]struct {
		roots *x509.CertPool
		ok    bool
	}{
		"the client's":  {w.roots, true},
		"another's":     {tenant.roots, false},
		"none of these": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := w.server(nil, w.requirement())
			inner := cfg.TLS.Clone()
			inner.ClientCAs = tt.roots
			cfg.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return inner, nil }
			e := connect(t, w.client(w.machines[0].credential(), nil), cfg)
			if tt.ok {
				require.NoError(t, e.serverErr)
				return
			}
			require.Error(t, e.serverErr)
			require.Error(t, e.clientErr)
			if tt.roots != nil {
				require.ErrorIs(t, e.serverErr, ErrIdentity)
			}
		})
	}
}

func TestVerifyCertificate(t *testing.T) {
	w := newWorld(t, 1)
	revoked := errors.New("revoked")
	for name, skip := range map[string]bool{"with PKI": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			requirement := w.requirement(func(r *Requirement) {
				r.InsecureSkipPKI, r.InsecureAnyInstance = skip, skip
				r.VerifyCertificate = func(certificates []*x509.Certificate, chains [][]*x509.Certificate) error {
					require.Equal(t, w.machines[0].cert.Certificate[0], certificates[0].Raw)
					require.Equal(t, skip, chains == nil)
					return revoked
				}
			})
			e := connect(t, w.client(nil, requirement), w.server(w.machines[0].credential(), nil))
			require.ErrorIs(t, e.clientErr, ErrIdentity)
			require.ErrorIs(t, e.clientErr, revoked)
			require.ErrorIs(t, e.serverErr, ErrIdentity)
		})
	}
}

func TestSameCertificate(t *testing.T) {
	w := newWorld(t, 1)
	m := w.machines[0]
	for name, tt := range map[string]struct {
		shown []tls.Certificate
		ok    bool
	}{
		"the same":     {[]tls.Certificate{m.cert}, true},
		"somebody's":   {[]tls.Certificate{w.issue(evidencetest.ECKey(t, elliptic.P256()))}, false},
		"none at all":  {nil, false},
		"another, too": {[]tls.Certificate{w.newMachine().cert}, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := w.server(nil, w.requirement(func(r *Requirement) { r.SameCertificate = true }))
			server.TLS.ClientAuth = tls.VerifyClientCertIfGiven
			client := w.client(m.credential(), nil)
			client.TLS.Certificates = tt.shown
			e := connect(t, client, server)
			if tt.ok {
				require.NoError(t, e.serverErr)
				return
			}
			require.ErrorIs(t, e.serverErr, ErrIdentity)
			require.ErrorIs(t, e.clientErr, ErrIdentity)
		})
	}
}

// One byte now and then is no progress.
func TestDrippingPeerLosesItsPlace(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.server(w.machines[0].credential(), nil)
	cfg.MaxHandshakes = 2
	l := listen(t, cfg)
	serveOn(t, l, http.NotFoundHandler())
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := make(chan struct{})
	defer close(stop)
	for range cfg.MaxHandshakes {
		conn, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		wg.Go(func() {
			defer conn.Close()
			_, err := conn.Write([]byte{22, 3, 1, 1, 0, 1, 0, 0, 252}) // a ClientHello that begins
			for err == nil {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
					_, err = conn.Write([]byte{3})
				}
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	client := w.client(nil, w.requirement())
	client.Timeout = 10 * time.Second
	conn, err := Dial(t.Context(), "tcp", l.Addr().String(), client)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

// An answer over HTTP is about the time when it was asked for.
func TestOldAnswerOverHTTP(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.server(nil, w.requirement(func(r *Requirement) { r.MaxAge = time.Minute }))
	cfg.Timeout = 2 * time.Second
	l := listen(t, cfg)
	mux := http.NewServeMux()
	mux.Handle("/again", NewReattestHandler())
	serveOn(t, l, mux)
	client := w.client(w.machines[0].credential(), nil)
	client.TLS.NextProtos = []string{"http/1.1"}
	transport, err := NewTransport(client, nil)
	require.NoError(t, err)
	defer transport.CloseIdleConnections()
	url := "https://" + l.Addr().String() + "/again"
	first := &asking{}
	frames, err := transport.exchange(t.Context(), url, first)
	require.NoError(t, err)
	s, mine := first.last()
	_, answer, err := s.answerFrames(t.Context(), mine, frames)
	require.NoError(t, err)
	time.Sleep(cfg.Timeout + 100*time.Millisecond)
	_, err = transport.exchange(t.Context(), url, &telling{session: s, frame: *answer})
	var refused *RefusalError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, RefusedTimeout, refused.Code)
}

// One client's requests over HTTP do not take the places of others.
func TestOneRequestAtATimeOverHTTP(t *testing.T) {
	w := newWorld(t, 1)
	m := w.machines[0]
	working := make(chan struct{}, 8)
	var slow atomic.Bool
	proceed := make(chan struct{})
	cfg := w.server(m.credential(func(c *CredentialConfig) {
		c.MaxPending = 2
		c.Attester = attesterFunc(func(ctx context.Context, nonce []byte) ([]byte, error) {
			if slow.Load() {
				working <- struct{}{}
				<-proceed
			}
			return m.Attest(ctx, nonce)
		})
	}), nil)
	cfg.TLS.NextProtos = NextProtos()
	l := listen(t, cfg)
	mux := http.NewServeMux()
	mux.Handle("/again", NewReattestHandler())
	serveOn(t, l, mux)
	transport, err := NewTransport(w.client(nil, w.requirement()), nil)
	require.NoError(t, err)
	defer transport.CloseIdleConnections()
	url := "https://" + l.Addr().String() + "/again"
	_, err = transport.Reattest(t.Context(), url) // makes the connection
	require.NoError(t, err)
	slow.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = transport.exchange(t.Context(), url, &asking{}) })
	<-working
	_, err = transport.exchange(t.Context(), url, &asking{})
	require.ErrorContains(t, err, "429")
	slow.Store(false)
	conn, err := Dial(t.Context(), "tcp", l.Addr().String(), w.client(nil, w.requirement()))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	close(proceed)
	wg.Wait()
}

// A TLS connection through an attested one leads to somebody else.
func TestPeerOfIsNotTheProxys(t *testing.T) {
	w := newWorld(t, 1)
	e := connect(t, w.client(nil, w.requirement()), w.server(w.machines[0].credential(), nil))
	require.NoError(t, e.clientErr)
	inner := tls.Client(e.client, &tls.Config{RootCAs: w.roots, ServerName: serverName})
	stranger := tls.Server(e.server, &tls.Config{Certificates: []tls.Certificate{w.issue(evidencetest.ECKey(t, elliptic.P256()))}})
	var wg sync.WaitGroup
	wg.Go(func() { _ = stranger.Handshake() })
	require.NoError(t, inner.Handshake())
	wg.Wait()
	_, known := PeerOf(inner)
	require.False(t, known)
	_, known = PeerOf(e.client)
	require.True(t, known)
}

// What was known of a peer is not, when it could not attest again.
func TestNoPeerAfterFailure(t *testing.T) {
	w, c, _ := mutual(t)
	_, known := PeerOf(c)
	require.True(t, known)
	w.machines[0].extend()
	_, err := c.Reattest(t.Context())
	require.Error(t, err)
	_, known = PeerOf(c)
	require.False(t, known)
	require.Nil(t, c.Peer())
}

// A server's key is told to those who can want to know it.
func TestKeyIsAnnouncedToThoseWhoAsk(t *testing.T) {
	w := newWorld(t, 2)
	for name, demands := range map[string]bool{"who demands nothing": false, "who demands": true} {
		t.Run(name, func(t *testing.T) {
			a, b := pipe(t)
			var wg sync.WaitGroup
			wg.Go(func() {
				if conn, err := Server(context.Background(), b, w.server(w.machines[0].credential(), nil)); err == nil {
					conn.Close()
				}
			})
			cfg := w.client(w.machines[1].credential(), nil)
			if demands {
				cfg.Requirement = w.requirement()
			}
			s := &session{cfg: cfg, self: expauth.Client, link: newLink(a)}
			require.NoError(t, s.secure(t.Context()))
			x := &exchange{session: s}
			mine, err := s.newRequest(clientRequestID)
			require.NoError(t, err)
			if !demands {
				mine = nil
			}
			require.NoError(t, x.greet(mine, true))
			h, err := x.peersHello()
			require.NoError(t, err)
			require.Equal(t, demands, len(h.Key) > 0)
			s.link.Close()
			wg.Wait()
		})
	}
}

// Answers that a peer does not read do not pile up.
func TestAnswersDoNotPileUp(t *testing.T) {
	_, c, h := framedHand(t)
	before := runtime.NumGoroutine()
	require.NoError(t, h.conn.SetWriteDeadline(time.Now().Add(10*time.Second)))
	for id := uint16(4); id < 600; id += 2 {
		r, err := h.newRequest(id)
		require.NoError(t, err)
		if frame.Write(h.conn, frame.Frame{Type: frame.Request, ID: id, Body: r.message}) != nil {
			break // the side that is asked has had enough
		}
	}
	require.Eventually(t, func() bool { return c.failed() != nil }, 10*time.Second, 10*time.Millisecond)
	require.ErrorIs(t, c.failed(), ErrProtocol)
	require.Less(t, runtime.NumGoroutine(), before+10)
	h.link.Close()
	c.Close()
}

// A connection that has failed ends, whatever the application does.
func TestRefusalEndsInAnyCase(t *testing.T) {
	_, c, h := framedHand(t)
	wrote := make(chan error, 1)
	go func() {
		for {
			if _, err := c.Write(make([]byte, 1<<20)); err != nil {
				wrote <- err
				return
			}
		}
	}()
	time.Sleep(300 * time.Millisecond) // until it is stuck: the peer does not read
	h.say(frame.Frame{Type: frame.Hello})
	require.Eventually(t, func() bool { return c.failed() != nil }, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, c.SetWriteDeadline(time.Time{}))
	select {
	case err := <-wrote:
		require.ErrorIs(t, err, ErrProtocol)
	case <-time.After(4 * farewell):
		t.Fatal("the writer is stuck still")
	}
	h.link.Close()
	c.Close()
}

// What is being answered when a peer turns bad ends.
func TestRequestsEndWithTheirPeer(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.server(nil, w.requirement())
	cfg.TLS.NextProtos = NextProtos()
	l := listen(t, cfg)
	ended := make(chan error, 1)
	mux := http.NewServeMux()
	mux.Handle("/again", NewReattestHandler())
	mux.HandleFunc("/stream", func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
	})
	serveOn(t, l, RequireAttested(mux))
	transport, err := NewTransport(w.client(w.machines[0].credential(), nil), nil)
	require.NoError(t, err)
	defer transport.CloseIdleConnections()
	url := "https://" + l.Addr().String()
	r, err := (&http.Client{Transport: transport}).Get(url + "/stream")
	require.NoError(t, err)
	defer r.Body.Close()
	w.machines[0].extend()
	_, err = transport.Reattest(t.Context(), url+"/again")
	require.Error(t, err)
	require.ErrorIs(t, <-ended, errNotAttested)
}
