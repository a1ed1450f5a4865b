// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"

	"github.com/veraison/attested-tls/rp"
)

// Peer is what is known of the machine at the other end: it was attested over
// this very connection, and everything that the Requirement asks for holds. It
// must not be changed.
//
// The certificate of the TLS handshake itself may be another one, and name
// somebody else (Requirement.SameCertificate): decide by this one.
type Peer struct {
	// Offer is how it attested.
	Offer Offer
	// Result is the verifier's answer, verified, and accepted by the policy.
	Result *rp.AttestationResult
	// Certificates is the chain that it sent, its own first. That one's key is
	// the attested key.
	Certificates []*x509.Certificate
	// VerifiedChains are as in tls.ConnectionState; nil with InsecureSkipPKI.
	VerifiedChains [][]*x509.Certificate
	// At is when it was asked to attest.
	At time.Time
}

// Key is the attested key: an *ecdsa.PublicKey, *rsa.PublicKey or
// ed25519.PublicKey.
func (p *Peer) Key() crypto.PublicKey { return p.Certificates[0].PublicKey }

// PeerOf is what is known of the peer of a connection that this package made,
// by its last attestation. There is nothing about a peer that had nothing to
// attest, nor about connections that were made otherwise.
func PeerOf(conn net.Conn) (*Peer, bool) {
	s := sessionOf(conn)
	if s == nil {
		return nil, false
	}
	p := s.peer.Load()
	return p, p != nil
}

// sessionOf finds the session of a connection, nil if there is none. Another TLS
// connection through an attested one, as to a proxy, is not attested.
func sessionOf(conn net.Conn) *session {
	var outer *tls.Conn
	for conn != nil {
		switch c := conn.(type) {
		case *link:
			s := c.session.Load()
			if s != nil && outer != nil && s.conn != outer {
				return nil
			}
			return s
		case *tls.Conn:
			if outer != nil {
				return nil
			}
			outer = c
		}
		wrapper, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		conn = wrapper.NetConn()
	}
	return nil
}

type connKey struct{}

// ConnContext is for an http.Server's field of that name: it makes the peer of
// a request's connection known to PeerFromContext, and the connection to the
// handler of NewReattestHandler and to RequireAttested.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// PeerFromContext is what is known of the peer in a request's context: in a
// handler of a server with ConnContext, or in the request of a response that
// came through a Transport.
func PeerFromContext(ctx context.Context) (*Peer, bool) {
	return PeerOf(connOf(ctx))
}

func connOf(ctx context.Context) net.Conn {
	conn, _ := ctx.Value(connKey{}).(net.Conn)
	return conn
}
