// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/internal/site"
	"github.com/veraison/attested-tls/internal/tpmtest"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// network is two machines with a TPM each, and a verifier that knows both.
type network struct {
	ca             *site.CA
	tpm            *attester.TPM // the server's
	server, client *site.Machine
	tlsKey         tls.Certificate // the server's, in memory
	name           string
	verifier       rp.Verifier
	keys           ear.KeySource
}

// TestTLSBinding connects machines over loopback: one TPM is the simulator, the
// other swtpm, and either Veraison appraises or the verifier in this process.
func TestTLSBinding(t *testing.T) {
	n := network{tpm: tpmtest.Simulator(t)}
	var err error
	n.ca, err = site.NewCA()
	require.NoError(t, err)
	n.server, err = n.ca.NewMachine(t.Context(), n.tpm, usualPCRs)
	require.NoError(t, err)
	n.client, err = n.ca.NewMachine(t.Context(), tpmtest.SWTPM(t), usualPCRs)
	require.NoError(t, err)
	n.tlsKey, err = n.ca.SoftwareKey()
	require.NoError(t, err)

	dep := start(t, ours(t), deployment.Memory)
	corims := []*endorsements.Corim{n.server.Endorsed, n.client.Endorsed}
	for _, c := range corims {
		require.NoError(t, dep.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, encode(t, c)))
	}
	key, err := ear.NewKey(dep.PublicKey())
	require.NoError(t, err)
	veraison, err := rp.NewVeraison(dep.VerificationURL(), ear.Pin(key), rp.Config{InsecureHTTP: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, veraison.Close()) })
	inProcess, err := embedded.New(corims, embedded.Config{})
	require.NoError(t, err)

	networks := []network{n, n}
	networks[0].name, networks[0].verifier, networks[0].keys = "Veraison", veraison, ear.Pin(key)
	networks[1].name, networks[1].verifier, networks[1].keys = "in process", inProcess, ear.Pin(inProcess.Key())
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) {
			t.Run("attested", n.attested)
			t.Run("HTTP", n.http)
			t.Run("attested again", n.again)
			t.Run("relay", n.relay)
			t.Run("replay", n.replay)
			t.Run("replayed evidence", n.replayedEvidence)
		})
	}
	// What was affirmed is so no more.
	require.NoError(t, tpmtest.ExtendPCR(t.Context(), n.tpm, crypto.SHA256, 7, make([]byte, 32)))
	for _, n := range networks {
		t.Run(n.name+", changed", n.changed)
	}
}

func (n network) background(t *testing.T, a *site.Machine) *tlsbinding.Credential {
	t.Helper()
	c, err := tlsbinding.NewCredential(tlsbinding.CredentialConfig{Certificate: a.Certificate, Attester: a})
	require.NoError(t, err)
	return c
}

func (n network) passport(t *testing.T, a *site.Machine) *tlsbinding.Credential {
	t.Helper()
	p := newPassport(t, n.verifier, a.Attester)
	c, err := tlsbinding.NewCredential(tlsbinding.CredentialConfig{
		Certificate: a.Certificate,
		Passport: func(ctx context.Context) (tlsbinding.Passport, error) {
			doc, err := p.Wait(ctx)
			return tlsbinding.Passport{EAR: doc.EAR, Verifier: n.name}, err
		},
		Verifiers: []string{n.name},
	})
	require.NoError(t, err)
	return c
}

// wants is one machine, and no other.
func (n network) wants(a *site.Machine) *tlsbinding.Requirement {
	return &tlsbinding.Requirement{Verifier: n.verifier, Policy: policy.Affirming(), Instances: [][]byte{a.AK().KID()}}
}

func (n network) wantsPassport(a *site.Machine) *tlsbinding.Requirement {
	r := n.wants(a)
	r.Verifier = nil
	r.Issuers = []tlsbinding.Issuer{{Name: n.name, Keys: n.keys, MaxAge: passportValidity}}
	return r
}

// configs are of a client and a server; either may have nothing.
func (n network) configs(client, server *tlsbinding.Credential, ofServer, ofClient *tlsbinding.Requirement) (c, s *tlsbinding.Config) {
	return &tlsbinding.Config{
			TLS:        &tls.Config{RootCAs: n.ca.Roots(), ServerName: "localhost"},
			Credential: client, Requirement: ofServer,
		}, &tlsbinding.Config{
			TLS:        &tls.Config{Certificates: []tls.Certificate{n.tlsKey}, ClientCAs: n.ca.Roots()},
			Credential: server, Requirement: ofClient,
		}
}

// serverAttests is the usual case, with evidence of a.
func (n network) serverAttests(t *testing.T, a tlsbinding.Attester) (client, server *tlsbinding.Config) {
	t.Helper()
	credential, err := tlsbinding.NewCredential(tlsbinding.CredentialConfig{Certificate: n.server.Certificate, Attester: a})
	require.NoError(t, err)
	return n.configs(nil, credential, n.wants(n.server), nil)
}

// meeting is what both ends have of a connection.
type meeting struct {
	client, server       *tls.Conn
	clientErr, serverErr error
}

// meet makes a connection over loopback. What comes to the client's end goes
// through between, if there is something.
func meet(t *testing.T, client, server *tlsbinding.Config, between func(address string) string) (m meeting) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			m.serverErr = err
			return
		}
		m.server, m.serverErr = tlsbinding.Server(t.Context(), conn, server)
	})
	address := l.Addr().String()
	if between != nil {
		address = between(address)
	}
	m.client, m.clientErr = tlsbinding.Dial(t.Context(), "tcp", address, client)
	wg.Wait()
	for _, conn := range []*tls.Conn{m.client, m.server} {
		if conn != nil {
			t.Cleanup(func() { conn.Close() })
		}
	}
	return m
}

// requireRefused is a connection that the client refused, and of which the
// server knows why.
func (m meeting) requireRefused(t *testing.T, code tlsbinding.RefusalCode, reason string) {
	t.Helper()
	require.ErrorContains(t, m.clientErr, reason)
	require.Nil(t, m.client)
	var told *tlsbinding.RefusalError
	require.ErrorAs(t, m.serverErr, &told)
	require.Equal(t, code, told.Code)
	require.Contains(t, told.Reason, reason)
	require.Nil(t, m.server)
}

func (n network) attested(t *testing.T) {
	for _, model := range []struct {
		name  string
		shows func(*testing.T, *site.Machine) *tlsbinding.Credential
		wants func(*site.Machine) *tlsbinding.Requirement
		model tlsbinding.Model
	}{
		{"background check", n.background, n.wants, tlsbinding.BackgroundCheck},
		{"passport", n.passport, n.wantsPassport, tlsbinding.PassportModel},
	} {
		for _, who := range []struct {
			name           string
			client, server bool
		}{{"server", false, true}, {"client", true, false}, {"mutual", true, true}} {
			t.Run(model.name+", "+who.name, func(t *testing.T) {
				var clients, servers *tlsbinding.Credential
				var ofServer, ofClient *tlsbinding.Requirement
				if who.server {
					servers, ofServer = model.shows(t, n.server), model.wants(n.server)
				}
				if who.client {
					clients, ofClient = model.shows(t, n.client), model.wants(n.client)
				}
				client, server := n.configs(clients, servers, ofServer, ofClient)
				m := meet(t, client, server, nil)
				require.NoError(t, m.clientErr)
				require.NoError(t, m.serverErr)
				exchangeData(t, m.client, m.server)

				check := func(conn net.Conn, attests bool, machine *site.Machine) {
					peer, ok := tlsbinding.PeerOf(conn)
					require.Equal(t, attests, ok)
					if !attests {
						return
					}
					require.Equal(t, machine.TIK().Public(), peer.Key())
					require.Equal(t, model.model, peer.Offer.Model)
					require.Equal(t, ear.TierAffirming, peer.Result.Status)
				}
				check(m.client, who.server, n.server)
				check(m.server, who.client, n.client)
			})
		}
	}
	t.Run("another machine", func(t *testing.T) {
		client, server := n.configs(nil, n.background(t, n.server), n.wants(n.client), nil)
		m := meet(t, client, server, nil)
		m.requireRefused(t, tlsbinding.RefusedAppraisal, fmt.Sprintf("instance (kid) is %x", n.server.AK().KID()))
		require.ErrorContains(t, m.clientErr, fmt.Sprintf("want %x", n.client.AK().KID()))
	})
}

func exchangeData(t *testing.T, a, b net.Conn) {
	t.Helper()
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		_, err := way[0].Write([]byte("hello"))
		require.NoError(t, err)
		require.NoError(t, way[1].SetReadDeadline(time.Now().Add(10*time.Second)))
		got := make([]byte, 5)
		_, err = io.ReadFull(way[1], got)
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
	}
}

// http is mutual, over both of its versions, and each side attests again.
func (n network) http(t *testing.T) {
	for _, protocols := range [][]string{{"h2"}, {"http/1.1"}} {
		t.Run(protocols[0], func(t *testing.T) {
			client, server := n.configs(n.background(t, n.client), n.background(t, n.server), n.wants(n.server), n.wants(n.client))
			client.TLS.ServerName = ""
			client.TLS.NextProtos, server.TLS.NextProtos = protocols, tlsbinding.NextProtos()
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			l, err := tlsbinding.NewListener(inner, server)
			require.NoError(t, err)
			mux := http.NewServeMux()
			mux.Handle("/attest", tlsbinding.NewReattestHandler())
			mux.Handle("/", tlsbinding.RequireAttested(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				peer, _ := tlsbinding.PeerFromContext(r.Context())
				assert.Equal(t, n.client.TIK().Public(), peer.Key())
				fmt.Fprint(w, r.Proto)
			})))
			s := &http.Server{Handler: mux}
			tlsbinding.HookServer(s)
			var wg sync.WaitGroup
			wg.Go(func() { assert.ErrorIs(t, s.Serve(l), http.ErrServerClosed) })
			t.Cleanup(func() {
				assert.NoError(t, s.Close())
				wg.Wait()
			})

			transport, err := tlsbinding.NewTransport(client, nil)
			require.NoError(t, err)
			defer transport.CloseIdleConnections()
			url := "https://" + l.Addr().String()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
			require.NoError(t, err)
			response, err := transport.RoundTrip(r)
			require.NoError(t, err)
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, map[string]string{"h2": "HTTP/2.0", "http/1.1": "HTTP/1.1"}[protocols[0]], string(body))
			first, ok := tlsbinding.PeerFromContext(response.Request.Context())
			require.True(t, ok)
			require.Equal(t, n.server.TIK().Public(), first.Key())

			again, err := transport.Reattest(t.Context(), url+"/attest")
			require.NoError(t, err)
			require.Equal(t, first.Key(), again.Key())
			require.NotEqual(t, first.Result.Nonce, again.Result.Nonce)
		})
	}
}

// again is on a framed connection, in both directions.
func (n network) again(t *testing.T) {
	client, server := n.configs(n.background(t, n.client), n.background(t, n.server), n.wants(n.server), n.wants(n.client))
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l, err := tlsbinding.NewFramedListener(inner, server)
	require.NoError(t, err)
	defer func() { assert.NoError(t, l.Close()) }()
	client.TLS.ServerName = ""
	ofClient, err := tlsbinding.DialFramed(t.Context(), "tcp", l.Addr().String(), client)
	require.NoError(t, err)
	defer ofClient.Close()
	accepted, err := l.Accept()
	require.NoError(t, err)
	ofServer, ok := accepted.(*tlsbinding.Conn)
	require.True(t, ok)
	defer ofServer.Close()
	for _, c := range []*tlsbinding.Conn{ofClient, ofServer} {
		before := c.Peer()
		peer, err := c.Reattest(t.Context())
		require.NoError(t, err)
		require.Equal(t, before.Key(), peer.Key())
		require.NotEqual(t, before.Result.Nonce, peer.Result.Nonce)
	}
	exchangeData(t, ofClient, ofServer)
}

// tap is somebody in the middle who has the server's TLS key: he speaks TLS with
// both ends and hands on all that either says. What the server said is kept.
type tap struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

// between listens for a client of the server at an address.
func (p *tap) between(t *testing.T, n network) func(address string) string {
	return func(address string) string {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{n.tlsKey}})
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			conn, err := l.Accept()
			if !assert.NoError(t, err) {
				return
			}
			defer conn.Close()
			client := conn.(*tls.Conn)
			server, err := tls.Dial("tcp", address, &tls.Config{RootCAs: n.ca.Roots(), ServerName: "localhost"})
			if !assert.NoError(t, err) {
				return
			}
			defer server.Close()
			wg.Go(func() {
				_, _ = io.Copy(server, client) // either end may be gone
				_ = server.CloseWrite()
			})
			_, _ = io.Copy(io.MultiWriter(client, p), server)
			_ = client.CloseWrite()
		})
		t.Cleanup(func() {
			l.Close()
			wg.Wait()
		})
		return l.Addr().String()
	}
}

func (n network) relay(t *testing.T) {
	client, server := n.serverAttests(t, n.server)
	m := meet(t, client, server, new(tap).between(t, n))
	m.requireRefused(t, tlsbinding.RefusedBinding, "not bound to this connection")
	require.ErrorIs(t, m.clientErr, tlsbinding.ErrNotBound)
	require.ErrorIs(t, m.serverErr, tlsbinding.ErrNotBound)
}

// replay says to a new client, word by word, what the genuine machine said
// before.
func (n network) replay(t *testing.T) {
	var p tap
	client, server := n.serverAttests(t, n.server)
	m := meet(t, client, server, p.between(t, n))
	require.Error(t, m.clientErr)
	p.mu.Lock()
	said := bytes.Clone(p.said.Bytes())
	p.mu.Unlock()
	require.Greater(t, len(said), 1000, "there is no authenticator in what the server said")

	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{n.tlsKey}})
	require.NoError(t, err)
	defer l.Close()
	heard := make(chan []byte, 1)
	go func() {
		conn, err := l.Accept()
		if !assert.NoError(t, err) {
			close(heard)
			return
		}
		_, err = conn.Write(said)
		assert.NoError(t, err)
		all, _ := io.ReadAll(conn)
		assert.NoError(t, conn.Close())
		heard <- all
	}()
	_, err = tlsbinding.Dial(t.Context(), "tcp", l.Addr().String(), client)
	require.ErrorIs(t, err, tlsbinding.ErrNotBound)
	require.Contains(t, string(<-heard), "not bound to this connection", "the other end is told")
}

// first gives the evidence that was asked for first to all who ask.
type first struct {
	tlsbinding.Attester
	once     sync.Once
	evidence []byte
	err      error
}

func (f *first) Attest(ctx context.Context, nonce []byte) ([]byte, error) {
	f.once.Do(func() { f.evidence, f.err = f.Attester.Attest(ctx, nonce) })
	return f.evidence, f.err
}

func (n network) replayedEvidence(t *testing.T) {
	client, server := n.serverAttests(t, &first{Attester: n.server})
	m := meet(t, client, server, nil)
	require.NoError(t, m.clientErr)
	require.NoError(t, m.serverErr)
	m = meet(t, client, server, nil)
	m.requireRefused(t, tlsbinding.RefusedBinding, "stale")
	require.ErrorIs(t, m.clientErr, tlsbinding.ErrNotBound)
}

// changed is a machine whose PCR is not what it was. The other one is as before.
func (n network) changed(t *testing.T) {
	client, server := n.serverAttests(t, n.server)
	m := meet(t, client, server, nil)
	m.requireRefused(t, tlsbinding.RefusedAppraisal, "the quoted PCR values match no reference state")
	var refused *rp.PolicyError
	require.ErrorAs(t, m.clientErr, &refused)

	client, server = n.configs(n.background(t, n.client), n.background(t, n.server), n.wants(n.server), n.wants(n.client))
	meet(t, client, server, nil).requireRefused(t, tlsbinding.RefusedAppraisal, "the quoted PCR values match no reference state")

	client, server = n.configs(n.background(t, n.client), nil, nil, n.wants(n.client))
	m = meet(t, client, server, nil)
	require.NoError(t, m.clientErr)
	require.NoError(t, m.serverErr)
}
