// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"runtime"
	"sync"
	"weak"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// Peer is who is at the other end, as the handshake showed.
type Peer struct {
	// Result is the verifier's, which the policy accepted.
	Result *rp.AttestationResult
	// Model is how it was obtained.
	Model tlsbinding.Model
	// Key is the attested key, which signed the handshake.
	Key crypto.PublicKey
}

// peers remembers who was appraised in which connection, by the certificate
// that carried the evidence: net/http, grpc and quic-go hand out a connection's
// tls.ConnectionState in their own ways, but it always has the same
// certificates. What is remembered ends with the certificate.
type peers struct {
	m sync.Map // weak.Pointer[x509.Certificate] to *Peer
}

func (p *peers) add(carrier *x509.Certificate, peer *Peer) {
	key := weak.Make(carrier)
	if _, known := p.m.Swap(key, peer); !known { // crypto/tls has one certificate for equal bytes
		runtime.AddCleanup(carrier, func(key weak.Pointer[x509.Certificate]) { p.m.Delete(key) }, key)
	}
}

// of finds the peer of a connection whose handshake is complete: before that
// the peer has not shown that it has the key. A certificate alone shows nothing:
// crypto/tls shares it among all connections of the process in which it was
// sent, by whomever. So the connection has to be by the attested key.
func (p *peers) of(cs tls.ConnectionState) (*Peer, bool) {
	if !cs.HandshakeComplete || len(cs.PeerCertificates) == 0 {
		return nil, false
	}
	leaf, ok := cs.PeerCertificates[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, false
	}
	for _, cert := range cs.PeerCertificates {
		if found, ok := p.m.Load(weak.Make(cert)); ok {
			if peer := found.(*Peer); leaf.Equal(peer.Key) {
				return peer, true
			}
		}
	}
	return nil, false
}
