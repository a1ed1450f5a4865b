// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

var errFault = errors.New("the fault of the test")

type failing struct{}

func (failing) NewSession(context.Context, []byte) (rp.Session, error) { return nil, errFault }
func (failing) Attest(context.Context, []byte) ([]byte, error)         { return nil, errFault }

// mute never answers; it honours contexts.
type mute struct{ asked chan struct{} }

func (m mute) NewSession(ctx context.Context, _ []byte) (rp.Session, error) {
	close(m.asked)
	<-ctx.Done()
	return nil, ctx.Err()
}

func (m mute) Attest(ctx context.Context, _ []byte) ([]byte, error) {
	close(m.asked)
	<-ctx.Done()
	return nil, ctx.Err()
}

// A verifier or attester that fails costs the connection, and no session stays
// open.
func TestFaults(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	ca := newAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(m.key)}}
	client := &tls.Config{InsecureSkipVerify: true}
	broken := m.credential()
	broken.Attester = failing{}

	t.Run("client's verifier", func(t *testing.T) {
		addr, _ := serve(t, server)
		_, err := newClient(t, Config{Requirement: requirement(failing{}, m)}).Dial(t.Context(), "tcp", addr)
		require.ErrorIs(t, err, errFault)
		require.ErrorContains(t, err, "ask the verifier for a nonce")
	})
	t.Run("server's verifier", func(t *testing.T) {
		e := connect(t, newClient(t, Config{TLS: client, Credential: m.credential()}), newServer(t, Config{TLS: server, Requirement: requirement(failing{}, m)}))
		require.ErrorIs(t, e.server.err, errFault)
		require.Error(t, e.clientErr)
	})
	t.Run("client's attester", func(t *testing.T) {
		e := connect(t, newClient(t, Config{TLS: client, Credential: broken}), newServer(t, Config{TLS: server, Requirement: requirement(v, m)}))
		require.ErrorIs(t, e.clientErr, errFault)
		require.Error(t, e.server.err)
		v.requireClosed(t)
	})
	t.Run("server's attester", func(t *testing.T) {
		e := connect(t, newClient(t, Config{Requirement: requirement(v, m)}), newServer(t, Config{Credential: broken}))
		require.ErrorIs(t, e.server.err, errFault)
		require.Error(t, e.clientErr)
		v.requireClosed(t)
	})
	t.Run("a passport by another verifier", func(t *testing.T) {
		c := m.credential()
		c.Attester, c.Verifiers = nil, []string{"embedded"}
		c.Passport = func(context.Context) (tlsbinding.Passport, error) {
			return tlsbinding.Passport{Verifier: "another", EAR: []byte("x")}, nil
		}
		r := requirement(nil, m)
		r.Verifier, r.Issuers = nil, []tlsbinding.Issuer{v.issuer()}
		e := connect(t, newClient(t, Config{Requirement: r}), newServer(t, Config{Credential: c}))
		require.ErrorContains(t, e.server.err, `it is by "another"`)
		c.Passport = func(context.Context) (tlsbinding.Passport, error) { return tlsbinding.Passport{}, errFault }
		e = connect(t, newClient(t, Config{Requirement: r}), newServer(t, Config{Credential: c}))
		require.ErrorIs(t, e.server.err, errFault)
	})
	t.Run("a nonce that is too short", func(t *testing.T) {
		_, _, err := newClient(t, Config{Requirement: requirement(shortNonce{}, m)}).TLSConfig(t.Context())
		require.ErrorContains(t, err, "7 bytes")
	})
	t.Run("the client goes away", func(t *testing.T) {
		s := newServer(t, Config{TLS: server, Requirement: requirement(v, m)})
		addr, outcomes := serve(t, s.TLSConfig())
		cfg, done, err := newClient(t, Config{TLS: client, Credential: m.credential()}).TLSConfig(t.Context())
		require.NoError(t, err)
		defer done()
		raw, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		before := v.opened.Load()
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			raw.Close()
			return nil, errFault
		}
		require.Error(t, tls.Client(raw, cfg).HandshakeContext(t.Context()))
		require.Error(t, (<-outcomes).err)
		assert.Equal(t, before+1, v.opened.Load())
		v.requireClosed(t)
	})
}

type shortNonce struct{}

func (shortNonce) NewSession(context.Context, []byte) (rp.Session, error) { return shortSession{}, nil }

type shortSession struct{ rp.Session }

func (shortSession) Nonce() []byte { return make([]byte, 7) }
func (shortSession) Close() error  { return nil }

// Whoever is asked honours the caller's context, and the configured limit.
func TestContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)

		// The limit.
		begin := time.Now()
		_, _, err := newClient(t, Config{Requirement: requirement(mute{make(chan struct{})}, m), Timeout: 3 * time.Second}).TLSConfig(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 3*time.Second, time.Since(begin))
		_, _, err = newClient(t, Config{Requirement: requirement(mute{make(chan struct{})}, m)}).TLSConfig(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 3*time.Second+tlsbinding.DefaultTimeout, time.Since(begin))

		// The caller's context.
		ctx, cancel := context.WithCancel(t.Context())
		asked := make(chan struct{})
		go func() {
			<-asked
			cancel()
		}()
		_, _, err = newClient(t, Config{Requirement: requirement(mute{asked}, m)}).TLSConfig(ctx)
		require.ErrorIs(t, err, context.Canceled)
	})

	// An attester that does not answer, in a handshake.
	m := newMachine(t)
	v := newVerifier(t, m)
	slow := m.credential()
	attester := mute{make(chan struct{})}
	slow.Attester = attester
	ctx, cancel := context.WithCancel(t.Context())
	addr, outcomes := serve(t, newServer(t, Config{Credential: slow, Timeout: 100 * time.Millisecond}).TLSConfig())
	go func() {
		<-attester.asked
		cancel()
	}()
	_, err := newClient(t, Config{Requirement: requirement(v, m)}).Dial(ctx, "tcp", addr)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, (<-outcomes).err, context.DeadlineExceeded)
	v.requireClosed(t)
}

// More attestations than have a place are refused at once.
func TestBusy(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	c := m.credential()
	attester := mute{make(chan struct{})}
	c.Attester, c.MaxPending = attester, 1
	addr, outcomes := serve(t, newServer(t, Config{Credential: c, Timeout: time.Second}).TLSConfig())
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := newClient(t, Config{Requirement: requirement(v, m)}).Dial(ctx, "tcp", addr)
		first <- err
	}()
	<-attester.asked
	_, err := newClient(t, Config{Requirement: requirement(v, m)}).Dial(t.Context(), "tcp", addr)
	require.Error(t, err)
	require.ErrorIs(t, (<-outcomes).err, tlsbinding.ErrBusy)
	cancel()
	require.Error(t, <-first)
	v.requireClosed(t)
}

// contextual notes the context that a signature is asked for with.
type contextual struct {
	crypto.Signer
	asked *atomic.Int32
}

func (c contextual) WithContext(ctx context.Context) crypto.Signer {
	c.asked.Add(1)
	return limited{c.Signer, ctx}
}

type limited struct {
	crypto.Signer
	ctx context.Context
}

func (l limited) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := l.ctx.Err(); err != nil {
		return nil, err
	}
	return l.Signer.Sign(rand, digest, opts)
}

// A key that honours contexts gets the handshake's.
func TestSignerContext(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	c := m.credential()
	var asked atomic.Int32
	c.Certificate.PrivateKey = contextual{m.key, &asked}
	e := connect(t, newClient(t, Config{Requirement: requirement(v, m), TLS: &tls.Config{}}), newServer(t, Config{Credential: c}))
	e.requireGood(t)
	assert.EqualValues(t, 1, asked.Load())
}

// What is remembered of a peer ends with its connection.
func TestPeersAreForgotten(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	server := newServer(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(m.key)}}, Requirement: requirement(v, m)})
	client := newClient(t, Config{TLS: &tls.Config{InsecureSkipVerify: true}, Credential: m.credential()})
	count := func() (n int) {
		server.side.peers.m.Range(func(any, any) bool { n++; return true })
		return n
	}
	addr, outcomes := serve(t, server.TLSConfig())
	conn, err := client.Dial(t.Context(), "tcp", addr)
	require.NoError(t, err)
	require.NoError(t, echo(conn))
	func() {
		o := <-outcomes
		peer, ok := server.PeerOf(o.state)
		require.True(t, ok)
		require.True(t, m.key.PublicKey.Equal(peer.Key))
		incomplete := o.state
		incomplete.HandshakeComplete = false
		_, ok = server.PeerOf(incomplete)
		require.False(t, ok, "a peer that has not shown that it has the key")
		_, ok = newServer(t, Config{Credential: m.credential()}).PeerOf(o.state)
		require.False(t, ok, "another server's peer")
	}()
	require.Equal(t, 1, count())
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { runtime.GC(); return count() == 0 }, 5*time.Second, 10*time.Millisecond)
}
