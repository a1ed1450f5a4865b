// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/veraison/attested-tls/internal/seedwire"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// Server makes the configuration of attested servers. It may be used by several
// goroutines.
type Server struct {
	side *side
	mint *mint
	// places are those of the handshakes that have a session.
	places chan struct{}
}

// NewServer checks a configuration. A server without Credential, and one whose
// clients may be unaware of attestation, has its certificate in Config.TLS.
func NewServer(cfg Config) (*Server, error) {
	s, err := newSide(&cfg, theServer, theClient)
	if err != nil {
		return nil, fmt.Errorf("inhandshake: server: %w", err)
	}
	m, err := newMint()
	if err != nil {
		return nil, fmt.Errorf("inhandshake: server: %w", err)
	}
	n := cfg.MaxHandshakes
	if n == 0 {
		n = tlsbinding.DefaultMaxHandshakes
	}
	return &Server{s, m, make(chan struct{}, n)}, nil
}

// TLSConfig is a configuration for any number of connections: of tls.NewListener,
// http.Server, grpc's credentials.NewTLS, or quic.Listen. Its
// GetConfigForClient does the work; without it every connection is refused.
func (s *Server) TLSConfig() *tls.Config {
	t := harden(s.side.tls)
	t.GetConfigForClient = s.configFor
	t.VerifyConnection = func(tls.ConnectionState) error {
		return errors.New("inhandshake: GetConfigForClient was replaced: nothing was attested")
	}
	return t
}

// PeerOf is who is at the other end of one of the server's connections, once
// its handshake is complete. See Client.PeerOf.
func (s *Server) PeerOf(cs tls.ConnectionState) (*Peer, bool) { return s.side.peers.of(cs) }

// extensionQUIC is quic_transport_parameters (RFC 9001, section 8.2).
const extensionQUIC = 57

func (s *Server) configFor(chi *tls.ClientHelloInfo) (*tls.Config, error) {
	t, err := s.accept(chi)
	if err != nil {
		return nil, fmt.Errorf("inhandshake: %w", err)
	}
	return t, nil
}

// accept makes the configuration for one client.
func (s *Server) accept(chi *tls.ClientHelloInfo) (*tls.Config, error) {
	base := s.side.tls
	if base.GetConfigForClient != nil {
		own, err := base.GetConfigForClient(chi)
		if err != nil {
			return nil, err
		}
		if own != nil {
			if err := checkTLS(own); err != nil {
				return nil, fmt.Errorf("TLS.GetConfigForClient: %w", err)
			}
			base = own
		}
	}
	t := harden(base)
	t.GetConfigForClient = nil
	if !slices.Contains(chi.SupportedVersions, tls.VersionTLS13) {
		return t, nil // crypto/tls refuses it, with the right alert
	}

	application, draft, block, err := fromALPN(chi.SupportedProtos)
	if err != nil {
		return nil, err
	}
	if len(application) == 0 && !slices.Contains(chi.Extensions, extensionQUIC) {
		t.NextProtos = nil // as if the client had no ALPN (RFC 7301, section 3.2)
	}
	c := &accepted{server: s, base: base, draft: draft}
	if draft != 0 {
		if c.hello, err = seedwire.DecodeClientHello(draft, block); err != nil {
			return nil, protocolError("the client's extensions: %w", err)
		}
	} else if s.side.relying != nil {
		return nil, fmt.Errorf("%w in the handshake: %s sends no extension of it; accepted is %v",
			tlsbinding.ErrNotSpoken, theClient, s.side.relying.ways(seedwire.Draft07).offers())
	}
	return t, c.configure(chi.Context(), t)
}

// accepted is one connection of a server.
type accepted struct {
	server *Server
	base   *tls.Config
	draft  seedwire.Draft // 0 if the client is unaware
	hello  seedwire.ClientHello

	// How the client attests, and the session for its evidence.
	client  choice
	session *waiting // nil where a passport was agreed on
}

// configure has the client's wishes fulfilled by t. ctx is the handshake's.
func (c *accepted) configure(ctx context.Context, t *tls.Config) error {
	s := c.server.side
	var asked ways
	if r := c.hello.EvidenceRequest; r != nil {
		asked.types = r.Supported
	}
	asked.verifiers = c.hello.ResultsRequest
	offered := ways{c.hello.EvidenceProposal, c.hello.ResultsProposal}

	// Both ways are looked at before anything is asked of TPM or verifier.
	var own choice
	attests := len(asked.types)+len(asked.verifiers) > 0
	if attests {
		shown := s.attesting.ways(c.draft)
		var ok bool
		if own, ok = choose(asked, shown); !ok {
			return c.refuse(t, nothingInCommon(theServer, shown, asked))
		}
	}
	if s.relying != nil {
		demanded := s.relying.ways(c.draft)
		var ok bool
		if c.client, ok = choose(demanded, offered); !ok {
			return c.refuse(t, nothingInCommon(theClient, offered, demanded))
		}
		if err := c.challenge(ctx, t); err != nil {
			return err
		}
	}
	t.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := c.verify(ctx, cs); err != nil {
			return fmt.Errorf("inhandshake: %w", err)
		}
		return nil
	}
	if attests {
		return c.attest(t, own)
	}
	return nil
}

// attest has the server's certificate carry evidence.
func (c *accepted) attest(t *tls.Config, own choice) error {
	answer := seedwire.ServerHello{EvidenceRequest: own.evidence}
	var nonce []byte
	if own.evidence == nil {
		answer.ResultsRequest = &own.verifier
	} else {
		nonce = c.hello.EvidenceRequest.Nonce
	}
	issuer, err := toName(c.draft, &answer)
	if err != nil {
		return err
	}
	t.Certificates = nil // they would come first
	t.GetCertificate = func(chi *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := c.server.side.attesting.certificate(chi.Context(), c.draft, own, nonce, issuer)
		if err != nil {
			return nil, fmt.Errorf("inhandshake: %w", err)
		}
		return cert, nil
	}
	return nil
}

// challenge has the client asked for its evidence.
func (c *accepted) challenge(ctx context.Context, t *tls.Config) error {
	var h seedwire.ServerHello
	if c.client.evidence == nil {
		h.ResultsProposal = &c.client.verifier
	} else {
		session, err := c.server.open(ctx)
		if err != nil {
			return err
		}
		c.session = session
		h.EvidenceProposal = &seedwire.EvidenceChallenge{Selected: *c.client.evidence, Nonce: session.Nonce()}
	}
	name, err := toName(c.draft, &h)
	if err != nil {
		return err
	}
	return c.request(t, name)
}

// request has the CertificateRequest carry a name beside those of the CAs.
func (c *accepted) request(t *tls.Config, name []byte) error {
	if c.server.side.relying.req.InsecureSkipPKI {
		t.ClientCAs = x509.NewCertPool()
		t.ClientAuth = tls.RequireAnyClientCert
	} else {
		if c.base.ClientCAs == nil { // it would be the system's
			return errors.New("TLS.GetConfigForClient: no ClientCAs are given, and clients' certificates are validated up to them")
		}
		t.ClientCAs = c.base.ClientCAs.Clone()
		t.ClientAuth = tls.RequireAndVerifyClientCert
	}
	// It is no certificate, has no key, and no chain may end there.
	t.ClientCAs.AddCertWithConstraint(&x509.Certificate{Raw: name, RawSubject: name},
		func([]*x509.Certificate) error { return errors.New("not a CA") })
	return nil
}

// verify is the server's VerifyConnection. ctx is the handshake's.
func (c *accepted) verify(ctx context.Context, cs tls.ConnectionState) error {
	s := c.server.side
	if cs.Version != tls.VersionTLS13 || cs.DidResume {
		return protocolError("not a full handshake of TLS 1.3")
	}
	if s.relying != nil {
		found, err := findEvidence(cs.PeerCertificates)
		if errors.Is(err, errNoEvidence) {
			return protocolError("%s offers to attest, and shows no evidence", theClient)
		}
		if err != nil {
			return err
		}
		var session rp.Session
		if c.session != nil {
			defer c.session.end()
			if err := c.session.arrived(ctx); err != nil {
				return err
			}
			session = c.session.Session
		}
		peer, err := s.relying.check(ctx, found, c.draft, c.client, session, &cs)
		if err != nil {
			return err
		}
		s.peers.add(found.carrier, peer)
	}
	if verify := c.base.VerifyConnection; verify != nil {
		return verify(cs)
	}
	return nil
}

// refuse has the handshake fail, after it told the client both lists in the
// issuer's name of a certificate: there is no alert that could.
func (c *accepted) refuse(t *tls.Config, reason error) error {
	s := c.server.side
	shown, accepted := s.attesting.ways(c.draft), s.relying.ways(c.draft)
	name, err := toName(c.draft, &seedwire.ServerHello{Unsupported: &seedwire.Unsupported{
		Shown: shown.types, ShownVerifiers: shown.verifiers,
		Accepted: accepted.types, AcceptedVerifiers: accepted.verifiers,
	}})
	if err != nil {
		return errors.Join(reason, err)
	}
	cert, err := c.server.mint.refusal(name)
	if err != nil {
		return errors.Join(reason, err)
	}
	t.Certificates, t.GetCertificate = []tls.Certificate{*cert}, nil
	t.ClientAuth = tls.NoClientCert
	t.VerifyConnection = func(tls.ConnectionState) error { return fmt.Errorf("inhandshake: %w", reason) }
	return nil
}
