// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// recorder is a connection that keeps what is written.
type recorder struct {
	net.Conn
	written bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.written.Write(b)
	return r.Conn.Write(b)
}

// recordHello is the ClientHello of a client that means to attest.
func recordHello(t *testing.T, m *machine) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		b := make([]byte, 1<<14)
		_, _ = there.Read(b) // the first record is one Write
		there.Close()
	}()
	r := &recorder{Conn: here}
	_, err := newClient(t, Config{TLS: &tls.Config{InsecureSkipVerify: true}, Credential: m.credential()}).Handshake(t.Context(), r)
	require.Error(t, err)
	return r.written.Bytes()
}

// stall sends a ClientHello, and nothing after it.
func stall(t *testing.T, addr string, hello []byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	_, err = c.Write(hello)
	require.NoError(t, err)
	return c
}

// Clients that stop after the ClientHello hold as many sessions as there are
// places, and no longer than they are there.
func TestMaxHandshakes(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	const places = 4
	s := newServer(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(m.key)}}, Requirement: requirement(v, m), MaxHandshakes: places})
	addr, outcomes := serve(t, s.TLSConfig())
	hello := recordHello(t, m)

	var held []net.Conn
	for range places {
		held = append(held, stall(t, addr, hello))
	}
	require.Eventually(t, func() bool { return v.open.Load() == places }, 5*time.Second, time.Millisecond)
	for range 20 {
		stall(t, addr, hello)
		err := (<-outcomes).err
		require.ErrorIs(t, err, tlsbinding.ErrBusy)
		require.ErrorContains(t, err, "4 handshakes")
	}
	assert.EqualValues(t, places, v.opened.Load(), "the verifier was asked although there was no place")

	// An honest client is refused as well, and served when one has gone.
	client := newClient(t, Config{TLS: &tls.Config{InsecureSkipVerify: true}, Credential: m.credential()})
	e := connect(t, client, s)
	require.Error(t, e.clientErr)
	require.ErrorIs(t, e.server.err, tlsbinding.ErrBusy)
	held[0].Close()
	require.Error(t, (<-outcomes).err)
	require.Eventually(t, func() bool { return len(s.places) == places-1 }, 5*time.Second, time.Millisecond)
	for range places + 1 { // a connection that stands has no place
		e := connect(t, client, s)
		e.requireGood(t)
		require.NotNil(t, e.fromServer)
	}
	for _, c := range held[1:] {
		c.Close()
	}
	v.requireClosed(t)
	require.Eventually(t, func() bool { return len(s.places) == 0 }, 5*time.Second, time.Millisecond)
}

// A verifier that fails costs no place.
func TestMaxHandshakesFailingVerifier(t *testing.T) {
	m := newMachine(t)
	s := newServer(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(m.key)}}, Requirement: requirement(failing{}, m), MaxHandshakes: 1})
	for range 3 {
		e := connect(t, newClient(t, Config{TLS: &tls.Config{InsecureSkipVerify: true}, Credential: m.credential()}), s)
		require.ErrorIs(t, e.server.err, errFault)
	}
}

// Without a limit of the configuration's own there is the default one.
func TestMaxHandshakesDefault(t *testing.T) {
	m := newMachine(t)
	s := newServer(t, Config{Requirement: requirement(newVerifier(t, m), m)})
	assert.Equal(t, tlsbinding.DefaultMaxHandshakes, cap(s.places))
}

// A place and its session are free when Timeout has passed without evidence,
// though the connection stays; evidence after that is refused.
func TestMaxHandshakesTimeout(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	s := newServer(t, Config{
		TLS:         &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(m.key)}},
		Requirement: requirement(v, m), MaxHandshakes: 1, Timeout: 100 * time.Millisecond,
	})
	addr, outcomes := serve(t, s.TLSConfig())
	stall(t, addr, recordHello(t, m))
	require.Eventually(t, func() bool { return v.opened.Load() == 1 }, 5*time.Second, time.Millisecond)
	v.requireClosed(t)
	require.Eventually(t, func() bool { return len(s.places) == 0 }, 5*time.Second, time.Millisecond)
	require.Empty(t, outcomes, "the connection has not stayed")

	cfg, done, err := newClient(t, Config{TLS: &tls.Config{InsecureSkipVerify: true}, Credential: m.credential()}).TLSConfig(t.Context())
	require.NoError(t, err)
	defer done()
	certificate := cfg.GetClientCertificate
	cfg.GetClientCertificate = func(cri *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		assert.Eventually(t, func() bool { return v.opened.Load() == 2 && v.open.Load() == 0 }, 5*time.Second, time.Millisecond)
		return certificate(cri)
	}
	raw, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer raw.Close()
	c := tls.Client(raw, cfg)
	require.NoError(t, c.HandshakeContext(t.Context())) // it learns with its first read
	require.Error(t, echo(c))
	err = (<-outcomes).err
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "later than 100ms after its nonce")
}
