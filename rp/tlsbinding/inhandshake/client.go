// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"

	"github.com/veraison/attested-tls/internal/seedwire"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// Client makes attested connections. It may be used by several goroutines.
type Client struct{ side *side }

// NewClient checks a configuration.
func NewClient(cfg Config) (*Client, error) {
	s, err := newSide(&cfg, theClient, theServer)
	if err != nil {
		return nil, fmt.Errorf("inhandshake: client: %w", err)
	}
	if s.draft == seedwire.Draft02 && (cfg.Credential != nil && cfg.Credential.Passport != nil || cfg.Requirement != nil && len(cfg.Requirement.Issuers) > 0) {
		return nil, fmt.Errorf("inhandshake: client: draft %v has no passports, want %v", seedwire.Draft02, seedwire.Draft07)
	}
	return &Client{s}, nil
}

// Dial connects and completes the handshake. The connection is a *tls.Conn;
// the signature is that of http.Transport.DialTLSContext. Where
// Config.TLS.ServerName is empty the host of the address is.
func (c *Client) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("inhandshake: %w", err)
	}
	raw, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("inhandshake: %w", err)
	}
	conn, err := c.handshake(ctx, raw, host)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// Handshake makes a connection over one that there is, which is the caller's to
// close if it fails. Config.TLS.ServerName is needed, unless the server is known
// by Instances or Keys alone.
func (c *Client) Handshake(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
	return c.handshake(ctx, conn, "")
}

func (c *Client) handshake(ctx context.Context, raw net.Conn, host string) (*tls.Conn, error) {
	cfg, done, err := c.TLSConfig(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("inhandshake: %w", err)
	}
	return conn, nil
}

// TLSConfig is the configuration of one connection, for those who make it
// themselves, such as QUIC: the nonce in it serves once, a second handshake
// fails. The context is that of the handshake, in which the verifier is asked.
// done has to be called when the handshake has ended, in whatever way.
func (c *Client) TLSConfig(ctx context.Context) (cfg *tls.Config, done func(), err error) {
	attempt := &attempt{side: c.side, ctx: ctx}
	cfg, err = attempt.config()
	if err != nil {
		return nil, nil, fmt.Errorf("inhandshake: %w", err)
	}
	return cfg, attempt.close, nil
}

// PeerOf is who is at the other end of one of the client's connections, once
// its handshake is complete. There is nobody where the configuration has no
// Requirement. It works with the tls.ConnectionState of net/http's responses,
// grpc's credentials.TLSInfo, and quic-go's connections.
func (c *Client) PeerOf(cs tls.ConnectionState) (*Peer, bool) { return c.side.peers.of(cs) }

// attempt is one connection of a client.
type attempt struct {
	side     *side
	ctx      context.Context
	session  rp.Session // for the server's evidence; nil if none is asked for
	verified atomic.Bool
}

func (a *attempt) close() {
	if a.session != nil {
		a.session.Close()
	}
}

func (a *attempt) config() (*tls.Config, error) {
	s := a.side
	var hello seedwire.ClientHello
	accepted := s.relying.ways(s.draft)
	if len(accepted.types) > 0 {
		session, err := s.relying.open(a.ctx)
		if err != nil {
			return nil, err
		}
		a.session = session
		hello.EvidenceRequest = &seedwire.EvidenceRequest{Supported: accepted.types, Nonce: session.Nonce()}
	}
	hello.ResultsRequest = accepted.verifiers
	own := s.attesting.ways(s.draft)
	hello.EvidenceProposal, hello.ResultsProposal = own.types, own.verifiers
	block, err := hello.Marshal(s.draft)
	if err != nil {
		a.close()
		return nil, err
	}
	entries, err := toALPN(s.draft, block)
	if err != nil {
		a.close()
		return nil, err
	}

	t := harden(s.tls)
	t.NextProtos = append(slices.Clone(t.NextProtos), entries...)
	t.GetClientCertificate = a.certificate
	t.VerifyConnection = a.verify
	if s.relying != nil {
		t.InsecureSkipVerify = s.relying.req.InsecureSkipPKI
	}
	return t, nil
}

// verify is the client's VerifyConnection.
func (a *attempt) verify(cs tls.ConnectionState) error {
	s := a.side
	if a.verified.Swap(true) {
		return errors.New("the configuration was used for another connection: it serves once")
	}
	if cs.Version != tls.VersionTLS13 || cs.DidResume {
		return protocolError("not a full handshake of TLS 1.3")
	}
	if isCarrier(cs.NegotiatedProtocol) {
		return fmt.Errorf("%w: it took an attestation extension for an application protocol", tlsbinding.ErrNotSpoken)
	}
	chain := cs.PeerCertificates
	answer, err := fromName(s.draft, chain[len(chain)-1].RawIssuer)
	if err != nil {
		return err
	}
	if answer != nil && answer.Unsupported != nil {
		return a.unsupported(answer.Unsupported)
	}
	if s.relying != nil {
		if err := a.appraise(answer, &cs); err != nil {
			return err
		}
	}
	if verify := s.tls.VerifyConnection; verify != nil {
		return verify(cs)
	}
	return nil
}

func (a *attempt) appraise(answer *seedwire.ServerHello, cs *tls.ConnectionState) error {
	s := a.side
	found, err := findEvidence(cs.PeerCertificates)
	switch {
	case errors.Is(err, errNoEvidence) && answer == nil:
		return fmt.Errorf("%w in the handshake: %s shows no evidence; asked for was %v",
			tlsbinding.ErrNotSpoken, theServer, s.relying.ways(s.draft).offers())
	case err != nil:
		return err
	case answer == nil:
		return protocolError("the server shows evidence, and does not say what it chose")
	}
	var c choice
	switch {
	case answer.EvidenceRequest != nil && answer.ResultsRequest == nil:
		c.evidence = answer.EvidenceRequest
	case answer.ResultsRequest != nil && answer.EvidenceRequest == nil:
		c.verifier = *answer.ResultsRequest
	default:
		return protocolError("the server chooses neither or both of evidence and a passport")
	}
	if err := c.within(s.relying.ways(s.draft)); err != nil {
		return err
	}
	peer, err := s.relying.check(a.ctx, found, s.draft, c, a.session, cs)
	if err != nil {
		return err
	}
	s.peers.add(found.carrier, peer)
	return nil
}

// unsupported is the error of a client that the server refuses: about the
// client's own attestation, if it is that which the server does not accept.
func (a *attempt) unsupported(u *seedwire.Unsupported) error {
	s := a.side
	accepted, shown := s.relying.ways(s.draft), ways{u.Shown, u.ShownVerifiers}
	if _, ok := choose(accepted, shown); !ok && s.relying != nil {
		return nothingInCommon(theServer, shown, accepted)
	}
	return nothingInCommon(theClient, s.attesting.ways(s.draft), ways{u.Accepted, u.AcceptedVerifiers})
}

// certificate is the client's GetClientCertificate.
func (a *attempt) certificate(cri *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	s := a.side
	var challenge *seedwire.ServerHello
	for _, name := range cri.AcceptableCAs {
		h, err := fromName(s.draft, name)
		switch {
		case err != nil:
			return nil, err
		case h != nil && challenge != nil:
			return nil, protocolError("two challenges in the CertificateRequest")
		case h != nil:
			challenge = h
		}
	}
	if challenge == nil {
		return a.otherCertificate(cri)
	}
	var c choice
	var nonce []byte
	switch p, r := challenge.EvidenceProposal, challenge.ResultsProposal; {
	case p != nil && r == nil:
		c.evidence, nonce = &p.Selected, p.Nonce
	case r != nil && p == nil:
		c.verifier = *r
	default:
		return nil, protocolError("the server asks for neither or both of evidence and a passport")
	}
	if err := c.within(s.attesting.ways(s.draft)); err != nil {
		return nil, err
	}
	return s.attesting.certificate(cri.Context(), s.draft, c, nonce, nil)
}

// otherCertificate is for a server that asks for a certificate without
// attestation.
func (a *attempt) otherCertificate(cri *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	t := a.side.tls
	if t.GetClientCertificate != nil {
		return t.GetClientCertificate(cri)
	}
	for i := range t.Certificates {
		if cri.SupportsCertificate(&t.Certificates[i]) == nil {
			return &t.Certificates[i], nil
		}
	}
	return new(tls.Certificate), nil
}
