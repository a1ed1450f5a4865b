// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/internal/evidencetest"
)

// An attested connection's certificate is in another connection, which does not
// attest, behind one for another key: crypto/tls hands out the same
// *x509.Certificate in both. Nobody is at the other end of that one.
func TestPeerOfAnotherConnection(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	client := newClient(t, Config{Requirement: requirement(v, m)})
	e := connect(t, client, newServer(t, Config{Credential: m.credential()}))
	e.requireGood(t)
	carrier := e.clientState.PeerCertificates[0]

	key := evidencetest.ECKey(t, elliptic.P256())
	leaf := newAuthority(t).issue(key).Certificate[0]
	addr, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf, carrier.Raw}, PrivateKey: key}}})
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	defer c.Close()
	require.Same(t, carrier, c.ConnectionState().PeerCertificates[1])
	_, ok := client.PeerOf(c.ConnectionState())
	require.False(t, ok, "a connection that is not attested has a peer")

	peer, ok := client.PeerOf(e.clientState)
	require.True(t, ok)
	require.Same(t, e.fromClient, peer)
	_, ok = client.PeerOf(tls.ConnectionState{HandshakeComplete: true})
	require.False(t, ok)
	strange := *carrier
	strange.PublicKey = "no key"
	_, ok = client.PeerOf(tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{&strange, carrier}})
	require.False(t, ok)
}

// A certificate that comes again has one cleanup, however often.
func TestPeersOneCleanup(t *testing.T) {
	queued := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/cleanups/queued:cleanups"}}
		metrics.Read(s)
		require.Equal(t, metrics.KindUint64, s[0].Value.Kind())
		return s[0].Value.Uint64()
	}
	count := func(p *peers) (n int) {
		p.m.Range(func(any, any) bool { n++; return true })
		return n
	}
	var p peers
	carrier := &x509.Certificate{Raw: make([]byte, 16)}
	last := new(Peer)
	runtime.GC()
	before := queued()
	const again = 10_000
	for range again {
		p.add(carrier, new(Peer))
	}
	p.add(carrier, last)
	p.m.Range(func(_, peer any) bool { return assert.Same(t, last, peer) })
	require.Equal(t, 1, count(&p))
	runtime.KeepAlive(carrier)
	carrier = nil
	require.Eventually(t, func() bool { runtime.GC(); return count(&p) == 0 }, 5*time.Second, 10*time.Millisecond)
	assert.Less(t, queued()-before, uint64(again/10))
}

// A configuration serves one connection, also where two ask at the same time.
func TestConfigurationServesOnce(t *testing.T) {
	m := newMachine(t)
	cfg, done, err := newClient(t, Config{Requirement: requirement(newVerifier(t, m), m)}).TLSConfig(t.Context())
	require.NoError(t, err)
	defer done()
	var wg sync.WaitGroup
	var first, later atomic.Int32
	start := make(chan struct{})
	const all = 32
	for range all {
		wg.Go(func() {
			<-start
			// The state is bad, so that a first one is seen by its own error.
			if err := cfg.VerifyConnection(tls.ConnectionState{}); strings.Contains(err.Error(), "serves once") {
				later.Add(1)
			} else {
				first.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	assert.EqualValues(t, 1, first.Load())
	assert.EqualValues(t, all-1, later.Load())
}
