// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package grpccreds

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// protocol is gRPC's in ALPN (RFC 9113, section 3.2).
const protocol = "h2"

// AuthInfo is what gRPC knows of a connection.
type AuthInfo struct {
	credentials.CommonAuthInfo
	// State is the TLS connection's.
	State tls.ConnectionState
	// Peer is the machine at the other end; nil if nothing is required of it.
	Peer *tlsbinding.Peer
}

// AuthType names the protocol.
func (AuthInfo) AuthType() string { return "attested-tls" }

// PeerFromContext is what is known of the machine that called, in the context of
// a server's handler. There is nothing where the server requires nothing of its
// clients, nor for calls that came another way.
func PeerFromContext(ctx context.Context) (*tlsbinding.Peer, bool) {
	p, _ := peer.FromContext(ctx)
	return PeerOf(p)
}

// PeerOf is PeerFromContext for clients: grpc.Peer, an option of a call, fills in
// a peer.Peer.
func PeerOf(p *peer.Peer) (*tlsbinding.Peer, bool) {
	if p == nil {
		return nil, false
	}
	info, ok := p.AuthInfo.(AuthInfo)
	return info.Peer, ok && info.Peer != nil
}

// New makes transport credentials of a configuration, for servers or clients.
// The configuration is copied, and speaks HTTP/2 alone, whatever its NextProtos
// say. What is missing in it for the side that it is used at is an error of each
// handshake.
//
// Where cfg.TLS names no server, a client validates certificates for the host of
// the target it dials.
func New(cfg *tlsbinding.Config) (credentials.TransportCredentials, error) {
	switch {
	case cfg == nil || cfg.TLS == nil:
		return nil, errors.New("grpccreds: no TLS configuration is given")
	case cfg.Credential == nil && cfg.Requirement == nil:
		return nil, errors.New("grpccreds: neither a Credential nor a Requirement is given: nothing would be attested")
	}
	c := &transport{cfg: *cfg}
	c.cfg.TLS = cfg.TLS.Clone()
	c.cfg.TLS.NextProtos = []string{protocol}
	return c, nil
}

// transport implements credentials.TransportCredentials.
type transport struct{ cfg tlsbinding.Config }

var _ credentials.TransportCredentials = (*transport)(nil)

// ClientHandshake connects to the server that authority names.
func (c *transport) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cfg := c.cfg
	if cfg.TLS.ServerName == "" {
		host, _, err := net.SplitHostPort(authority)
		if err != nil {
			host = authority // it has no port
		}
		cfg.TLS = cfg.TLS.Clone()
		cfg.TLS.ServerName = host
	}
	conn, err := tlsbinding.Client(ctx, raw, &cfg)
	if err != nil {
		return nil, nil, err
	}
	return established(conn)
}

// ServerHandshake serves a client. gRPC has set a deadline on raw, which holds.
func (c *transport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	timeout := c.cfg.Timeout
	if timeout == 0 {
		timeout = tlsbinding.DefaultTimeout
	}
	deadline := time.Now().Add(timeout)
	conn, err := tlsbinding.Server(context.Background(), raw, &c.cfg)
	if err != nil {
		return nil, nil, err
	}
	// gRPC's own deadline is gone with the handshake's. The client still has to
	// send its preface; then gRPC takes this deadline away.
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("grpccreds: setting a deadline: %w", err), conn.Close())
	}
	return established(conn)
}

func established(conn *tls.Conn) (net.Conn, credentials.AuthInfo, error) {
	info := AuthInfo{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		State:          conn.ConnectionState(),
	}
	if got := info.State.NegotiatedProtocol; got != protocol {
		err := fmt.Errorf("grpccreds: the peer agreed to the protocol %.32q, want %q", got, protocol)
		return nil, nil, errors.Join(err, conn.Close())
	}
	info.Peer, _ = tlsbinding.PeerOf(conn)
	return conn, info, nil
}

// Info describes the protocol.
func (c *transport) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls", ServerName: c.cfg.TLS.ServerName}
}

// Clone is a copy that OverrideServerName changes alone.
func (c *transport) Clone() credentials.TransportCredentials {
	clone := &transport{cfg: c.cfg}
	clone.cfg.TLS = c.cfg.TLS.Clone()
	return clone
}

// OverrideServerName has certificates validated for another name.
func (c *transport) OverrideServerName(name string) error {
	c.cfg.TLS.ServerName = name
	return nil
}
