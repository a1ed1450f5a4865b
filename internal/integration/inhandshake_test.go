// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/deployment"
	"github.com/veraison/attested-tls/internal/site"
	"github.com/veraison/attested-tls/internal/tpmtest"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
	"github.com/veraison/attested-tls/rp/tlsbinding/inhandshake"
)

// seedNetwork is two machines, a Veraison that knows both, and nonces from its
// sessions.
type seedNetwork struct {
	ca             *site.CA
	tpm            *attester.TPM // the server's
	server, client *site.Machine
	pool           rp.Verifier
	keys           ear.KeySource
}

// TestInHandshake has real TPMs attest inside the handshake to a real Veraison:
// the drafts' three cases, in both models and both versions.
func TestInHandshake(t *testing.T) {
	n := seedNetwork{tpm: tpmtest.Simulator(t)}
	var err error
	n.ca, err = site.NewCA()
	require.NoError(t, err)
	n.server, err = n.ca.NewMachine(t.Context(), n.tpm, usualPCRs)
	require.NoError(t, err)
	n.client, err = n.ca.NewMachine(t.Context(), tpmtest.SWTPM(t), usualPCRs)
	require.NoError(t, err)
	dep := start(t, ours(t), deployment.Memory)
	for _, c := range []*endorsements.Corim{n.server.Endorsed, n.client.Endorsed} {
		require.NoError(t, dep.Client().Provision(t.Context(), endorsements.MediaTypeUnsignedV1, encode(t, c)))
	}
	key, err := ear.NewKey(dep.PublicKey())
	require.NoError(t, err)
	n.keys = ear.Pin(key)
	veraison, err := rp.NewVeraison(dep.VerificationURL(), n.keys, rp.Config{InsecureHTTP: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, veraison.Close()) })
	pool, err := rp.NewPool(veraison, rp.PoolConfig{Size: 4})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, pool.Close()) })
	n.pool = pool

	for _, draft := range []inhandshake.Draft{inhandshake.Draft02, inhandshake.Draft07} {
		for _, model := range []tlsbinding.Model{tlsbinding.BackgroundCheck, tlsbinding.PassportModel} {
			if draft == inhandshake.Draft02 && model == tlsbinding.PassportModel {
				continue
			}
			for _, which := range []string{"client attests", "server attests", "mutual"} {
				t.Run(fmt.Sprintf("-%02d, %v, %s", draft, model, which), func(t *testing.T) {
					c, s := n.sides(t, model, which)
					c.Draft = draft
					n.connect(t, c, s, which)
				})
			}
		}
	}
	t.Run("HTTP/2", n.http)
	t.Run("QUIC", n.quic)
	t.Run("another machine", func(t *testing.T) {
		c, s := n.sides(t, tlsbinding.BackgroundCheck, "server attests")
		c.Requirement.Instances = [][]byte{n.client.AK().KID()}
		n.refused(t, c, s, "not one of the machines that are named")
	})
	t.Run("evidence of another machine", func(t *testing.T) {
		c, s := n.sides(t, tlsbinding.BackgroundCheck, "server attests")
		s.Credential.Attester = n.client
		c.Requirement.Instances = nil
		err := n.refused(t, c, s, "attested key")
		require.ErrorIs(t, err, tlsbinding.ErrNotBound)
	})
	t.Run("a nonce of another connection", func(t *testing.T) {
		c, s := n.sides(t, tlsbinding.BackgroundCheck, "server attests")
		s.Credential.Attester = repeater(make([]byte, 32), n.server)
		n.refused(t, c, s, "integrity validation failed")
	})
	t.Run("a changed machine", func(t *testing.T) {
		require.NoError(t, tpmtest.ExtendPCR(t.Context(), n.tpm, crypto.SHA256, 7, make([]byte, 32)))
		c, s := n.sides(t, tlsbinding.BackgroundCheck, "server attests")
		n.refused(t, c, s, "ear.status is")
	})
}

type attestFunc func(ctx context.Context, nonce []byte) ([]byte, error)

func (f attestFunc) Attest(ctx context.Context, nonce []byte) ([]byte, error) { return f(ctx, nonce) }

// repeater answers every nonce with the evidence for one.
func repeater(nonce []byte, a tlsbinding.Attester) tlsbinding.Attester {
	return attestFunc(func(ctx context.Context, _ []byte) ([]byte, error) { return a.Attest(ctx, nonce) })
}

// sides are configurations of a client and a server. The server has a PKI
// identity; the client is known by its attestation key alone.
func (n seedNetwork) sides(t *testing.T, model tlsbinding.Model, which string) (client, server inhandshake.Config) {
	t.Helper()
	tlsKey, err := n.ca.SoftwareKey()
	require.NoError(t, err)
	client = inhandshake.Config{TLS: &tls.Config{RootCAs: n.ca.Roots(), NextProtos: []string{"h2"}}, InsecureAcceptRelay: true}
	server = inhandshake.Config{TLS: &tls.Config{Certificates: []tls.Certificate{tlsKey}, NextProtos: []string{"h2"}}, InsecureAcceptRelay: true}
	if which != "server attests" {
		client.Credential = n.credential(t, model, n.client, tls.Certificate{
			PrivateKey: n.client.Signer(), SupportedSignatureAlgorithms: n.client.TIK().SignatureSchemes(),
		})
		server.Requirement = n.requirement(model, n.client)
		server.Requirement.InsecureSkipPKI = true
	}
	if which != "client attests" {
		server.Credential = n.credential(t, model, n.server, n.server.Certificate)
		client.Requirement = n.requirement(model, n.server)
	}
	return client, server
}

func (n seedNetwork) credential(t *testing.T, model tlsbinding.Model, m *site.Machine, cert tls.Certificate) *tlsbinding.CredentialConfig {
	t.Helper()
	c := &tlsbinding.CredentialConfig{Certificate: cert}
	if model == tlsbinding.BackgroundCheck {
		c.Attester = m
		return c
	}
	p := newPassport(t, n.pool, m.Attester)
	c.Verifiers = []string{"Veraison"}
	c.Passport = func(ctx context.Context) (tlsbinding.Passport, error) {
		doc, err := p.Wait(ctx)
		return tlsbinding.Passport{EAR: doc.EAR, Verifier: "Veraison"}, err
	}
	return c
}

func (n seedNetwork) requirement(model tlsbinding.Model, m *site.Machine) *tlsbinding.Requirement {
	r := &tlsbinding.Requirement{Policy: policy.Affirming(), Instances: [][]byte{m.AK().KID()}}
	if model == tlsbinding.BackgroundCheck {
		r.Verifier = n.pool
	} else {
		r.Issuers = []tlsbinding.Issuer{{Name: "Veraison", Keys: n.keys, MaxAge: passportValidity}}
	}
	return r
}

// shake makes a connection and sends a byte each way.
func (n seedNetwork) shake(t *testing.T, client, server inhandshake.Config) (c *inhandshake.Client, s *inhandshake.Server, ofClient, ofServer tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	var err error
	s, err = inhandshake.NewServer(server)
	require.NoError(t, err)
	c, err = inhandshake.NewClient(client)
	require.NoError(t, err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.TLSConfig())
	require.NoError(t, err)
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			serverErr = err
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		if serverErr = conn.(*tls.Conn).HandshakeContext(context.Background()); serverErr == nil {
			_, _ = io.CopyN(conn, conn, 1)
			ofServer = conn.(*tls.Conn).ConnectionState()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var conn net.Conn
	if conn, clientErr = c.Dial(ctx, "tcp", l.Addr().String()); clientErr == nil {
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		if _, clientErr = conn.Write([]byte{1}); clientErr == nil {
			_, clientErr = io.ReadFull(conn, make([]byte, 1))
		}
		ofClient = conn.(*tls.Conn).ConnectionState()
		conn.Close()
	}
	<-done
	return c, s, ofClient, ofServer, clientErr, serverErr
}

func (n seedNetwork) connect(t *testing.T, client, server inhandshake.Config, which string) {
	c, s, ofClient, ofServer, clientErr, serverErr := n.shake(t, client, server)
	require.NoError(t, serverErr)
	require.NoError(t, clientErr)
	who, ok := s.PeerOf(ofServer)
	require.Equal(t, which != "server attests", ok)
	if ok {
		assert.Equal(t, n.client.TIK().Public(), who.Key)
		assert.Equal(t, ear.TierAffirming, who.Result.Status)
	}
	who, ok = c.PeerOf(ofClient)
	require.Equal(t, which != "client attests", ok)
	if ok {
		assert.Equal(t, n.server.TIK().Public(), who.Key)
		assert.Equal(t, ear.TierAffirming, who.Result.Status)
	}
}

// refused is the client's error; the server has one, too.
func (n seedNetwork) refused(t *testing.T, client, server inhandshake.Config, reason string) error {
	t.Helper()
	_, _, _, _, clientErr, serverErr := n.shake(t, client, server)
	require.ErrorContains(t, clientErr, reason)
	require.ErrorContains(t, serverErr, "bad certificate")
	return clientErr
}

func (n seedNetwork) http(t *testing.T) {
	client, server := n.sides(t, tlsbinding.BackgroundCheck, "mutual")
	s, err := inhandshake.NewServer(server)
	require.NoError(t, err)
	c, err := inhandshake.NewClient(client)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &http.Server{TLSConfig: s.TLSConfig(), ReadHeaderTimeout: 30 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := s.PeerOf(*r.TLS)
		fmt.Fprint(w, ok && who.Result.Status == ear.TierAffirming)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h.ServeTLS(l, "", "")
	}()
	transport := &http.Transport{DialTLSContext: c.Dial, ForceAttemptHTTP2: true}
	r, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Get("https://" + l.Addr().String())
	require.NoError(t, err)
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	assert.Equal(t, "true", string(body))
	assert.Equal(t, "HTTP/2.0", r.Proto)
	_, ok := c.PeerOf(*r.TLS)
	assert.True(t, ok)
	transport.CloseIdleConnections()
	require.NoError(t, h.Close())
	<-done
}

func (n seedNetwork) quic(t *testing.T) {
	client, server := n.sides(t, tlsbinding.BackgroundCheck, "mutual")
	s, err := inhandshake.NewServer(server)
	require.NoError(t, err)
	c, err := inhandshake.NewClient(client)
	require.NoError(t, err)
	l, err := quic.ListenAddr("127.0.0.1:0", s.TLSConfig(), nil)
	require.NoError(t, err)
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		served <- func() error {
			conn, err := l.Accept(ctx)
			if err != nil {
				return err
			}
			stream, err := conn.OpenUniStreamSync(ctx)
			if err != nil {
				return err
			}
			who, ok := s.PeerOf(conn.ConnectionState().TLS)
			fmt.Fprint(stream, ok && who.Result.Status == ear.TierAffirming)
			return stream.Close()
		}()
	}()
	cfg, done, err := c.TLSConfig(ctx)
	require.NoError(t, err)
	defer done()
	conn, err := quic.DialAddr(ctx, l.Addr().String(), cfg, nil)
	require.NoError(t, err)
	stream, err := conn.AcceptUniStream(ctx)
	require.NoError(t, err)
	body, err := io.ReadAll(stream)
	require.NoError(t, err)
	assert.Equal(t, "true", string(body))
	who, ok := c.PeerOf(conn.ConnectionState().TLS)
	require.True(t, ok)
	assert.Equal(t, n.server.TIK().Public(), who.Key)
	require.NoError(t, <-served)
	require.NoError(t, conn.CloseWithError(0, ""))
}
