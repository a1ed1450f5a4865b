// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/tlsbinding/internal/frame"
)

// site is an HTTP server on a Listener.
type site struct {
	url    string
	opened atomic.Int32 // connections
	log    journal
	before atomic.Pointer[func(*http.Request)] // the handler for attestation
}

// journal is a log that a test reads.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) has(t testing.TB, text string) {
	t.Helper()
	require.Eventually(t, func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return strings.Contains(j.text.String(), text)
	}, 10*time.Second, 5*time.Millisecond, "the log does not say %q", text)
}

// protocols are those of net/http.
var protocols = map[string]string{"h2": "HTTP/2.0", "http/1.1": "HTTP/1.1"}

func serveHTTP(t testing.TB, cfg *Config, protocol string) *site {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &site{url: "https://" + inner.Addr().String()}
	cfg.TLS.NextProtos = []string{protocol}
	cfg.Logger = slog.New(slog.NewTextHandler(&p.log, nil))
	l, err := NewListener(inner, cfg)
	require.NoError(t, err)
	mux := http.NewServeMux()
	reattest := NewReattestHandler()
	mux.HandleFunc("/attest", func(w http.ResponseWriter, r *http.Request) {
		if f := p.before.Load(); f != nil {
			(*f)(r)
		}
		reattest.ServeHTTP(w, r)
	})
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		_, known := PeerFromContext(r.Context())
		fmt.Fprintf(w, "%s %v", r.Proto, known)
	})
	mux.Handle("/attested", RequireAttested(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "welcome")
	})))
	server := &http.Server{Handler: mux, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			p.opened.Add(1)
		}
	}, ErrorLog: slog.NewLogLogger(slog.NewTextHandler(&p.log, nil), slog.LevelInfo)}
	type own struct{}
	server.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, own{}, "kept")
	}
	HookServer(server)
	require.Equal(t, "kept", server.ConnContext(t.Context(), nil).Value(own{}))
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		server.Close()
		wg.Wait()
		l.Close()
	})
	return p
}

func transport(t testing.TB, cfg *Config) *Transport {
	t.Helper()
	tr, err := NewTransport(cfg, nil)
	require.NoError(t, err)
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// get is a request's status, body, and response.
func get(t testing.TB, tr *Transport, url string) (int, string, *http.Response) {
	t.Helper()
	response, err := (&http.Client{Transport: tr}).Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body), response
}

// attesting are the three ways to share the roles, for a world of two machines.
func whoAttests(w *world) map[string][2]*Config {
	return map[string][2]*Config{
		"server": {w.client(nil, w.requirement()), w.server(w.machines[0].credential(), nil)},
		"client": {w.client(w.machines[1].credential(), nil), w.server(nil, w.requirement())},
		"mutual": {w.client(w.machines[1].credential(), w.requirement()), w.server(w.machines[0].credential(), w.requirement())},
	}
}

// TestHTTP: both protocols, who the peer is on both sides, and attesting again.
func TestHTTP(t *testing.T) {
	for protocol, proto := range protocols {
		w := newWorld(t, 2)
		for who, cfgs := range whoAttests(w) {
			t.Run(proto+", "+who, func(t *testing.T) {
				v := &counting{Verifier: w.verifier}
				if r := cfgs[0].Requirement; r != nil {
					r.Verifier = v
				}
				p := serveHTTP(t, cfgs[1], protocol)
				tr := transport(t, cfgs[0])
				_, body, response := get(t, tr, p.url+"/who")
				require.Equal(t, fmt.Sprintf("%s %v", proto, who != "server"), body)
				require.Equal(t, proto, response.Proto)
				before, known := PeerFromContext(response.Request.Context())
				require.Equal(t, who != "client", known)

				for range 3 {
					after, err := tr.Reattest(t.Context(), p.url+"/attest")
					require.NoError(t, err)
					if who == "client" {
						require.Nil(t, after)
						continue
					}
					require.True(t, after.At.After(before.At))
					before = after
				}
				_, _, response = get(t, tr, p.url+"/who")
				now, _ := PeerFromContext(response.Request.Context())
				require.Same(t, before, now)
				require.EqualValues(t, 1, p.opened.Load(), "all over one connection")
				if who != "client" {
					v.noneOpen(t, 4)
				}

				status, _, _ := get(t, tr, p.url+"/attested")
				want := http.StatusOK
				if who == "server" {
					want = http.StatusForbidden
				}
				require.Equal(t, want, status)
			})
		}
	}
}

// TestHTTPReattestFails: a machine that has changed loses the connection, and
// both ends know why.
func TestHTTPReattestFails(t *testing.T) {
	for protocol, proto := range protocols {
		for _, who := range []string{"server", "client", "mutual"} {
			for _, changed := range []string{"server", "client"} {
				if who != "mutual" && who != changed {
					continue
				}
				t.Run(proto+", "+who+", "+changed+" changed", func(t *testing.T) {
					w := newWorld(t, 2)
					cfgs := whoAttests(w)[who]
					p := serveHTTP(t, cfgs[1], protocol)
					tr := transport(t, cfgs[0])
					status, _, response := get(t, tr, p.url+"/who")
					require.Equal(t, http.StatusOK, status)
					old, _ := PeerFromContext(response.Request.Context())
					if changed == "server" {
						w.machines[0].extend()
					} else {
						w.machines[1].extend()
					}
					peer, err := tr.Reattest(t.Context(), p.url+"/attest")
					require.Nil(t, peer)
					if changed == "server" {
						var refused *rp.PolicyError
						require.ErrorAs(t, err, &refused)
						p.log.has(t, "the peer refuses (appraisal)")
					} else {
						refusedAs(t, err, RefusedAppraisal, "executables")
						p.log.has(t, "executables")
					}
					if old != nil && changed == "server" {
						_, known := PeerFromContext(response.Request.Context())
						require.False(t, known, "what was known of the connection")
					}
					// There is no going on with another connection either.
					_, err = (&http.Client{Transport: tr}).Get(p.url + "/who")
					require.Error(t, err)
					require.EqualValues(t, 1, p.opened.Load())
				})
			}
		}
	}
}

// TestRefusedMeanwhile: between the refusal and the end of the connection the
// peer is one that was not attested.
func TestRefusedMeanwhile(t *testing.T) {
	w := newWorld(t, 2)
	p := serveHTTP(t, w.server(nil, w.requirement()), "http/1.1")
	conn, err := Dial(t.Context(), "tcp", strings.TrimPrefix(p.url, "https://"), w.client(w.machines[1].credential(), nil))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	reader := bufio.NewReader(conn)
	exchange := func(method, path string, body []byte) (*http.Response, []byte) {
		r, err := http.NewRequest(method, p.url+path, bytes.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", mediaTypeFrames)
		require.NoError(t, r.Write(conn))
		response, err := http.ReadResponse(reader, r)
		require.NoError(t, err)
		defer response.Body.Close()
		out, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response, out
	}
	response, _ := exchange(http.MethodGet, "/attested", nil)
	require.Equal(t, http.StatusOK, response.StatusCode)

	_, body := exchange(http.MethodPost, "/attest", nil)
	asked, err := frame.Read(bytes.NewReader(body))
	require.NoError(t, err)
	w.machines[1].extend()
	answer, err := sessionOf(conn).attest(t.Context(), asked.Body)
	require.NoError(t, err)
	// The answer to a refusal asks to close. What is on its way in the same
	// flight is not served.
	data, err := frame.Frame{Type: frame.Authenticator, ID: asked.ID, Body: answer}.Append(nil)
	require.NoError(t, err)
	response, body = exchange(http.MethodPost, "/attest", data)
	require.True(t, response.Close)
	refused, err := frame.Read(bytes.NewReader(body))
	require.NoError(t, err)
	require.Equal(t, frame.Refusal, refused.Type)
	_, known := PeerOf(conn)
	require.False(t, known)
	_, err = io.Copy(io.Discard, reader)
	require.NoError(t, err)
}

// TestReattestHandler: what the handler refuses, each with its status.
func TestReattestHandler(t *testing.T) {
	w := newWorld(t, 2)
	p := serveHTTP(t, w.server(w.machines[0].credential(), w.requirement()), "http/1.1")
	one := func(f frame.Frame) []byte {
		out, err := f.Append(nil)
		require.NoError(t, err)
		return out
	}
	type result struct {
		status int
		frame  *frame.RefusalBody
	}
	post := func(t *testing.T, change func(*http.Request), body ...[]byte) (out result) {
		conn, err := Dial(t.Context(), "tcp", strings.TrimPrefix(p.url, "https://"), w.client(w.machines[1].credential(), w.requirement()))
		require.NoError(t, err)
		defer conn.Close()
		reader := bufio.NewReader(conn)
		for _, b := range body {
			r, err := http.NewRequest(http.MethodPost, p.url+"/attest", bytes.NewReader(b))
			require.NoError(t, err)
			r.Header.Set("Content-Type", mediaTypeFrames)
			change(r)
			go func() { _ = r.Write(conn) }()
			response, err := http.ReadResponse(reader, r)
			require.NoError(t, err)
			data, _ := io.ReadAll(response.Body)
			response.Body.Close()
			out = result{status: response.StatusCode}
			if frames, err := frame.ReadAll(bytes.NewReader(data), 2); err == nil && len(frames) == 1 && frames[0].Type == frame.Refusal {
				out.frame, err = frame.ParseRefusal(frames[0].Body)
				require.NoError(t, err)
			}
		}
		return out
	}
	same := func(*http.Request) {}
	authenticator := one(frame.Frame{Type: frame.Authenticator, ID: serverRequestID, Body: []byte("x")})
	for name, tt := range map[string]struct {
		change func(*http.Request)
		body   [][]byte
		status int
		code   RefusalCode
	}{
		"GET":                        {func(r *http.Request) { r.Method = http.MethodGet }, [][]byte{nil}, http.StatusMethodNotAllowed, 0},
		"another type":               {func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, [][]byte{nil}, http.StatusUnsupportedMediaType, 0},
		"garbage":                    {same, [][]byte{[]byte("garbage")}, http.StatusBadRequest, 0},
		"cut short":                  {same, [][]byte{authenticator[:len(authenticator)-1]}, http.StatusBadRequest, 0},
		"three frames":               {same, [][]byte{bytes.Repeat(authenticator, 3)}, http.StatusBadRequest, 0},
		"too large":                  {same, [][]byte{bytes.Repeat(one(frame.Frame{Type: frame.Authenticator, Body: make([]byte, 128<<10)}), 2)}, http.StatusBadRequest, 0},
		"an answer to nothing":       {same, [][]byte{authenticator}, http.StatusConflict, 0},
		"a bad answer":               {same, [][]byte{nil, authenticator}, http.StatusOK, RefusedBinding},
		"an answer to something":     {same, [][]byte{nil, one(frame.Frame{Type: frame.Authenticator, ID: 4})}, http.StatusOK, RefusedProtocol},
		"two frames":                 {same, [][]byte{bytes.Repeat(authenticator, 2)}, http.StatusOK, RefusedProtocol},
		"an accept":                  {same, [][]byte{one(frame.Frame{Type: frame.Accept})}, http.StatusOK, RefusedProtocol},
		"a request that is none":     {same, [][]byte{one(frame.Frame{Type: frame.Request, ID: 1, Body: []byte("x")})}, http.StatusOK, RefusedProtocol},
		"a refusal that is none":     {same, [][]byte{one(frame.Frame{Type: frame.Refusal})}, http.StatusOK, RefusedProtocol},
		"a refusal without question": {same, [][]byte{one(frame.Frame{Type: frame.Refusal, Body: []byte{0, 9}})}, http.StatusOK, RefusedInternal},
	} {
		t.Run(name, func(t *testing.T) {
			got := post(t, tt.change, tt.body...)
			require.Equal(t, tt.status, got.status)
			if tt.code == 0 {
				require.Nil(t, got.frame)
				return
			}
			require.NotNil(t, got.frame)
			require.Equal(t, uint16(tt.code), got.frame.Code, got.frame.Reason)
		})
	}
	t.Run("not attested", func(t *testing.T) {
		for _, ctx := range []context.Context{t.Context(), ConnContext(t.Context(), nil), ConnContext(t.Context(), new(tls.Conn))} {
			recorder := httptest.NewRecorder()
			NewReattestHandler().ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/", nil).WithContext(ctx))
			require.Equal(t, http.StatusForbidden, recorder.Code)
			recorder = httptest.NewRecorder()
			RequireAttested(http.NotFoundHandler()).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
			require.Equal(t, http.StatusForbidden, recorder.Code)
		}
	})
}

// TestHTTPOtherConnection: an answer for a connection that did not ask it is not
// taken, and asked for again.
func TestHTTPOtherConnection(t *testing.T) {
	w := newWorld(t, 2)
	for protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			p := serveHTTP(t, w.server(w.machines[0].credential(), w.requirement()), protocol)
			tr := transport(t, w.client(w.machines[1].credential(), w.requirement()))
			forget := func(times int32) {
				var n atomic.Int32
				f := func(r *http.Request) {
					s := sessionOf(connOf(r.Context()))
					if s.http.asked.Load() != nil && n.Add(1) <= times {
						s.http.asked.Store(nil) // as if another had asked
					}
				}
				p.before.Store(&f)
			}
			forget(1)
			before := time.Now()
			peer, err := tr.Reattest(t.Context(), p.url+"/attest")
			require.NoError(t, err)
			require.True(t, peer.At.After(before))
			forget(100)
			_, err = tr.Reattest(t.Context(), p.url+"/attest")
			require.ErrorIs(t, err, ErrOtherConnection)
			p.before.Store(nil)
			_, err = tr.Reattest(t.Context(), p.url+"/attest")
			require.NoError(t, err, "the connection is not the worse for it")
			require.EqualValues(t, 1, p.opened.Load())
		})
	}
}

// TestHTTPSecondHalfElsewhere: between the halves somebody else takes the
// connection. The answer does not go over another one; the client begins again,
// and what comes out is about the connection that carried it.
func TestHTTPSecondHalfElsewhere(t *testing.T) {
	w := newWorld(t, 2)
	p := serveHTTP(t, w.server(w.machines[0].credential(), w.requirement()), "http/1.1")
	var (
		tr        *Transport
		interfere atomic.Bool
		held      io.ReadCloser
	)
	credential := w.machines[1].credential(attesting(func(ctx context.Context, nonce []byte) ([]byte, error) {
		if interfere.CompareAndSwap(true, false) {
			// The server has answered the first half.
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/who", nil)
			if err != nil {
				return nil, err
			}
			response, err := tr.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			held = response.Body // not read, so that the connection is in use
		}
		return w.machines[1].Attest(ctx, nonce)
	}))
	tr = transport(t, w.client(credential, w.requirement()))
	_, _, response := get(t, tr, p.url+"/who")
	first := connOf(response.Request.Context())
	old, _ := PeerOf(first)
	interfere.Store(true)
	peer, err := tr.Reattest(t.Context(), p.url+"/attest")
	require.NoError(t, err)
	require.NotNil(t, held, "nobody interfered")
	_, _, response = get(t, tr, p.url+"/who")
	second := connOf(response.Request.Context())
	require.NotSame(t, first, second)
	now, _ := PeerOf(second)
	require.Same(t, peer, now)
	now, _ = PeerOf(first)
	require.Same(t, old, now, "the first lives on its own attestation")
	require.NoError(t, held.Close())
	_, err = (&telling{session: sessionOf(first)}).body(sessionOf(second))
	require.ErrorIs(t, err, ErrOtherConnection)
}

// TestHTTPConcurrently: many requests, and many who want the peer attested.
func TestHTTPConcurrently(t *testing.T) {
	w := newWorld(t, 2)
	for protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			p := serveHTTP(t, w.server(w.machines[0].credential(), w.requirement()), protocol)
			tr := transport(t, w.client(w.machines[1].credential(), w.requirement()))
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if _, err := tr.Reattest(t.Context(), p.url+"/attest"); err != nil {
						t.Error(err)
					}
				})
				wg.Go(func() {
					response, err := (&http.Client{Transport: tr}).Get(p.url + "/attested")
					if err != nil {
						t.Error(err)
						return
					}
					if response.StatusCode != http.StatusOK {
						t.Error(response.Status)
					}
					response.Body.Close()
				})
			}
			wg.Wait()
		})
	}
}

// TestKeepAttested: as long as it goes well the connection lives, and no longer.
func TestKeepAttested(t *testing.T) {
	for protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			aging := w.requirement(func(r *Requirement) { r.MaxAge = time.Second })
			p := serveHTTP(t, w.server(w.machines[0].credential(), aging), protocol)
			tr := transport(t, w.client(w.machines[1].credential(), aging))
			get(t, tr, p.url+"/attested")
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			require.ErrorIs(t, tr.KeepAttested(ctx, p.url+"/attest", 100*time.Millisecond), context.DeadlineExceeded)
			status, _, _ := get(t, tr, p.url+"/attested")
			require.Equal(t, http.StatusOK, status)
			require.EqualValues(t, 1, p.opened.Load(), "one connection, twice as old as it may become")

			time.Sleep(1100 * time.Millisecond)
			status, _, _ = get(t, tr, p.url+"/attested")
			require.Equal(t, http.StatusOK, status)
			require.EqualValues(t, 2, p.opened.Load(), "the other one was closed")

			w.machines[0].extend()
			err := tr.KeepAttested(t.Context(), p.url+"/attest", 10*time.Millisecond)
			var refused *rp.PolicyError
			require.ErrorAs(t, err, &refused)
		})
	}
	t.Run("interval", func(t *testing.T) {
		w := newWorld(t, 1)
		require.ErrorContains(t, transport(t, w.client(nil, w.requirement())).KeepAttested(t.Context(), "https://x", 0), "want more than 0")
	})
}

// TestHasteServer: a server that answers before it was asked has not attested.
func TestHasteServer(t *testing.T) {
	w := newWorld(t, 1)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l, err := NewListener(inner, w.server(w.machines[0].credential(), nil))
	require.NoError(t, err)
	accept, err := frame.Frame{Type: frame.Accept}.Append(nil)
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					return
				}
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", mediaTypeFrames, len(accept), accept)
				_, _ = io.CopyN(io.Discard, conn, 1<<10)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	tr := transport(t, w.client(nil, w.requirement()))
	for range 10 {
		peer, err := tr.Reattest(t.Context(), "https://"+l.Addr().String())
		require.Nil(t, peer)
		require.ErrorIs(t, err, ErrProtocol)
	}
}

// TestReattestOverHTTPFails: what is not an answer of the handler.
func TestReattestOverHTTPFails(t *testing.T) {
	w := newWorld(t, 2)
	p := serveHTTP(t, w.server(w.machines[0].credential(), w.requirement()), "h2")
	// Each with connections of its own: net/http takes a moment to see that one
	// was closed.
	reattest := func(ctx context.Context, url string) error {
		peer, err := transport(t, w.client(w.machines[1].credential(), w.requirement())).Reattest(ctx, url)
		require.Equal(t, err == nil, peer != nil)
		return err
	}
	require.ErrorContains(t, reattest(t.Context(), p.url+"/nowhere"), "HTTP status 404")
	err := reattest(t.Context(), p.url+"/who")
	require.ErrorIs(t, err, ErrProtocol)
	require.ErrorContains(t, err, "text/plain")
	require.ErrorContains(t, reattest(t.Context(), "http"+strings.TrimPrefix(p.url, "https")+"/attest"), "not https")
	require.Error(t, reattest(t.Context(), "::"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, reattest(ctx, p.url+"/attest"), context.Canceled)
	require.NoError(t, reattest(t.Context(), p.url+"/attest"))
}

// TestTransport: what is not https, and what belongs to somebody else.
func TestTransport(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.client(nil, w.requirement())
	tr := transport(t, cfg)
	require.Empty(t, cfg.TLS.NextProtos, "the caller's configuration is not touched")
	body := &closing{Reader: strings.NewReader("x")}
	r, err := http.NewRequest(http.MethodPost, "http://127.0.0.1:1", body)
	require.NoError(t, err)
	_, err = tr.RoundTrip(r)
	require.ErrorContains(t, err, "not https")
	require.True(t, body.closed)
	_, err = NewTransport(cfg, &http.Transport{Proxy: http.ProxyFromEnvironment})
	require.ErrorContains(t, err, "proxy")
	// Verification that a base transport gives up is not given up.
	p := serveHTTP(t, newWorld(t, 1).server(w.machines[0].credential(), nil), "h2")
	base := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("must not be used")
		},
	}
	careless, err := NewTransport(cfg, base)
	require.NoError(t, err)
	_, err = (&http.Client{Transport: careless}).Get(p.url)
	require.ErrorContains(t, err, "unknown authority")
	require.NotNil(t, base.DialTLSContext)
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}
