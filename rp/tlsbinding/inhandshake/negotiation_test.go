// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"bytes"
	"crypto/tls"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/seedwire"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// The draft's second outcome (-02, section 6.2): nothing in common. Both ends
// have an error that names both lists.
func TestUnsupported(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	const eat = "application/eat+cwt"
	background := func(mediaType string) tlsbinding.Offer {
		return tlsbinding.Offer{Model: tlsbinding.BackgroundCheck, Type: mediaType}
	}
	passport := func(by string) tlsbinding.Offer {
		return tlsbinding.Offer{Model: tlsbinding.PassportModel, Type: tlsbinding.MediaTypeEAR, Verifier: by}
	}
	other := m.credential()
	other.EvidenceType = eat
	holder := m.credential()
	holder.Attester, holder.Passport, holder.Verifiers = nil, m.passport(v), []string{"another"}
	issued := requirement(v, m)
	issued.Verifier, issued.Issuers = nil, []tlsbinding.Issuer{v.issuer()}
	chained := requirement(v, m)
	chained.InsecureSkipPKI = false
	server := &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(m.key)}, ClientCAs: newAuthority(t).pool()}
	insecure := &tls.Config{InsecureSkipVerify: true}

	for name, test := range map[string]struct {
		client, server Config
		is             error
		want           tlsbinding.NegotiationError
	}{
		"server's evidence": {
			Config{Requirement: requirement(v, m)}, Config{Credential: other},
			ErrUnsupportedEvidence, tlsbinding.NegotiationError{Attester: theServer,
				Shown: []tlsbinding.Offer{background(eat)}, Accepted: []tlsbinding.Offer{background(bundle.MediaType)}},
		},
		"the server has none": {
			Config{Requirement: requirement(v, m), Credential: m.credential()}, Config{TLS: server, Requirement: requirement(v, m)},
			ErrUnsupportedEvidence, tlsbinding.NegotiationError{Attester: theServer,
				Accepted: []tlsbinding.Offer{background(bundle.MediaType)}},
		},
		"client's evidence": {
			Config{TLS: insecure, Credential: other}, Config{TLS: server, Requirement: requirement(v, m)},
			ErrUnsupportedEvidence, tlsbinding.NegotiationError{Attester: theClient,
				Shown: []tlsbinding.Offer{background(eat)}, Accepted: []tlsbinding.Offer{background(bundle.MediaType)}},
		},
		"the client has none": {
			Config{Requirement: requirement(v, m)}, Config{Credential: m.credential(), Requirement: requirement(v, m)},
			ErrUnsupportedEvidence, tlsbinding.NegotiationError{Attester: theClient,
				Accepted: []tlsbinding.Offer{background(bundle.MediaType)}},
		},
		"client's chain": {
			Config{TLS: insecure, Credential: m.credential()}, Config{TLS: server, Requirement: chained},
			ErrUnsupportedEvidence, tlsbinding.NegotiationError{Attester: theClient,
				Shown: []tlsbinding.Offer{background(bundle.MediaType)}, Accepted: []tlsbinding.Offer{background(bundle.MediaType + " (CERT_ATTESTATION)")}},
		},
		"server's verifier": {
			Config{Requirement: issued}, Config{Credential: holder},
			ErrUnsupportedVerifiers, tlsbinding.NegotiationError{Attester: theServer,
				Shown: []tlsbinding.Offer{passport("another")}, Accepted: []tlsbinding.Offer{passport("embedded")}},
		},
		"client's verifier": {
			Config{TLS: insecure, Credential: holder}, Config{TLS: server, Requirement: issued},
			ErrUnsupportedVerifiers, tlsbinding.NegotiationError{Attester: theClient,
				Shown: []tlsbinding.Offer{passport("another")}, Accepted: []tlsbinding.Offer{passport("embedded")}},
		},
		"models": {
			Config{Requirement: issued}, Config{Credential: m.credential()},
			ErrUnsupportedEvidence, tlsbinding.NegotiationError{Attester: theServer,
				Shown: []tlsbinding.Offer{background(bundle.MediaType)}, Accepted: []tlsbinding.Offer{passport("embedded")}},
		},
		"-02 has no passports": {
			Config{Draft: Draft02, TLS: insecure, Credential: m.credential()}, Config{TLS: server, Requirement: issued},
			ErrUnsupportedEvidence, tlsbinding.NegotiationError{Attester: theClient,
				Shown: []tlsbinding.Offer{background(bundle.MediaType)}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := connect(t, newClient(t, test.client), newServer(t, test.server))
			for _, err := range []error{e.clientErr, e.server.err} {
				require.ErrorIs(t, err, test.is)
				var negotiation *tlsbinding.NegotiationError
				require.ErrorAs(t, err, &negotiation)
				got := *negotiation
				got.Err = nil
				assert.Equal(t, test.want, got)
			}
			v.requireClosed(t)
		})
	}
	assert.ErrorIs(t, ErrUnsupportedEvidence, tlsbinding.ErrNoCommonEvidence)
	assert.ErrorIs(t, ErrUnsupportedVerifiers, tlsbinding.ErrNoCommonVerifier)
}

// What comes first for who relies is chosen.
func TestPreference(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	r := requirement(v, m)
	r.EvidenceTypes = []string{"application/unknown", bundle.MediaType}
	r.Issuers = []tlsbinding.Issuer{v.issuer()}
	both := m.credential()
	both.Passport, both.Verifiers = m.passport(v), []string{"another", "embedded"}
	e := connect(t, newClient(t, Config{Requirement: r}), newServer(t, Config{Credential: both}))
	e.requireGood(t)
	assert.Equal(t, tlsbinding.BackgroundCheck, e.fromClient.Model)

	both.Attester = nil
	e = connect(t, newClient(t, Config{Requirement: r}), newServer(t, Config{Credential: both}))
	e.requireGood(t)
	assert.Equal(t, tlsbinding.PassportModel, e.fromClient.Model)
	v.requireClosed(t)
}

// Peers that do not know the mode.
func TestUnaware(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	ca := newAuthority(t)
	plainServer := func(protos ...string) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.issue(m.key)}, NextProtos: protos}
	}
	plainClient := func(protos ...string) *tls.Config {
		return &tls.Config{RootCAs: ca.pool(), ServerName: "example.test", NextProtos: protos}
	}
	aware := func(protos ...string) Config {
		return Config{TLS: plainClient(protos...), Credential: m.credential()}
	}

	t.Run("client, required", func(t *testing.T) {
		s := newServer(t, Config{TLS: plainServer(), Requirement: requirement(v, m)})
		addr, outcomes := serve(t, s.TLSConfig())
		_, err := tls.Dial("tcp", addr, plainClient())
		require.ErrorContains(t, err, "internal error") // the one alert that crypto/tls has for it
		o := <-outcomes
		require.ErrorIs(t, o.err, tlsbinding.ErrNotSpoken)
		require.ErrorContains(t, o.err, bundle.MediaType)
		assert.EqualValues(t, 0, v.opened.Load())
	})
	t.Run("client, not required", func(t *testing.T) {
		s := newServer(t, Config{TLS: plainServer("h2"), Credential: m.credential()})
		for _, protos := range [][]string{nil, {"h2"}} {
			addr, outcomes := serve(t, s.TLSConfig())
			c, err := tls.Dial("tcp", addr, plainClient(protos...))
			require.NoError(t, err)
			require.NoError(t, echo(c))
			require.NoError(t, (<-outcomes).err)
			assert.Equal(t, len(protos) > 0, c.ConnectionState().NegotiatedProtocol == "h2")
			_, ok := s.PeerOf(c.ConnectionState())
			assert.False(t, ok)
			require.NoError(t, c.Close())
		}
	})
	t.Run("server, required", func(t *testing.T) {
		addr, _ := serve(t, plainServer())
		c := newClient(t, Config{TLS: plainClient(), Requirement: requirement(v, m)})
		_, err := c.Dial(t.Context(), "tcp", addr)
		require.ErrorIs(t, err, tlsbinding.ErrNotSpoken)
		require.ErrorContains(t, err, bundle.MediaType)
		v.requireClosed(t)
	})
	t.Run("server, not required", func(t *testing.T) {
		for _, protos := range [][]string{nil, {"h2"}} {
			addr, _ := serve(t, plainServer(protos...))
			c, err := newClient(t, aware(protos...)).Dial(t.Context(), "tcp", addr)
			require.NoError(t, err)
			require.NoError(t, echo(c))
			require.NoError(t, c.Close())
		}
	})
	t.Run("server with protocols, client without", func(t *testing.T) {
		addr, _ := serve(t, plainServer("h2"))
		_, err := newClient(t, aware()).Dial(t.Context(), "tcp", addr)
		require.ErrorContains(t, err, "no application protocol")
	})
	t.Run("server that asks for any certificate", func(t *testing.T) {
		cfg := plainServer()
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool()
		addr, outcomes := serve(t, cfg)
		own := aware()
		own.TLS.Certificates = []tls.Certificate{ca.issue(m.key)}
		c, err := newClient(t, own).Dial(t.Context(), "tcp", addr)
		require.NoError(t, err)
		require.NoError(t, echo(c))
		assert.Len(t, (<-outcomes).state.PeerCertificates, 1)
		require.NoError(t, c.Close())

		asked := false
		own.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &own.TLS.Certificates[0], nil
		}
		c, err = newClient(t, own).Dial(t.Context(), "tcp", addr)
		require.NoError(t, err)
		require.NoError(t, echo(c))
		assert.True(t, asked)
		require.NoError(t, c.Close())

		_, err = connectPlain(t, newClient(t, aware()), addr)
		require.ErrorContains(t, err, "certificate required")
	})
}

func connectPlain(t testing.TB, c *Client, addr string) (net.Conn, error) {
	t.Helper()
	conn, err := c.Dial(t.Context(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn, echo(conn)
}

// The application's protocol is chosen as if ours were not there.
func TestApplicationProtocol(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	for name, test := range map[string]struct {
		client, server []string
		want           string
		err            string
	}{
		"both":                {[]string{"h2", "http/1.1"}, []string{"h2"}, "h2", ""},
		"server's preference": {[]string{"h2", "http/1.1"}, []string{"http/1.1", "h2"}, "http/1.1", ""},
		"client without":      {nil, []string{"h2"}, "", ""},
		"server without":      {[]string{"h2"}, nil, "", ""},
		"none in common":      {[]string{"mqtt"}, []string{"h2"}, "", "unsupported application protocols"},
	} {
		t.Run(name, func(t *testing.T) {
			e := connect(t, newClient(t, Config{TLS: &tls.Config{NextProtos: test.client}, Requirement: requirement(v, m)}),
				newServer(t, Config{TLS: &tls.Config{NextProtos: test.server}, Credential: m.credential()}))
			if test.err != "" {
				require.ErrorContains(t, e.server.err, test.err)
				require.ErrorContains(t, e.clientErr, "no application protocol")
			} else {
				e.requireGood(t)
				assert.Equal(t, test.want, e.server.state.NegotiatedProtocol)
				assert.Equal(t, test.want, e.clientState.NegotiatedProtocol)
			}
			v.requireClosed(t)
		})
	}
}

// What a client's hello can get wrong.
func TestBadHello(t *testing.T) {
	m := newMachine(t)
	good := marshal(t, seedwire.Draft07, &seedwire.ClientHello{EvidenceRequest: &seedwire.EvidenceRequest{
		Supported: []seedwire.EvidenceType{mediaType(seedwire.Draft07, bundle.MediaType, seedwire.Attestation)},
		Nonce:     bytes.Repeat([]byte{1}, 32),
	}})
	long := marshal(t, seedwire.Draft07, &seedwire.ClientHello{EvidenceRequest: &seedwire.EvidenceRequest{
		Supported: []seedwire.EvidenceType{mediaType(seedwire.Draft07, bundle.MediaType, seedwire.Attestation)},
		Nonce:     bytes.Repeat([]byte{1}, 65),
	}})
	entry := tag(seedwire.Draft07) + base64url.EncodeToString(good)
	many := make([]string, maxFragments+1)
	for i := range many {
		many[i] = tag(seedwire.Draft07) + "AAAA"
	}
	for name, test := range map[string]struct {
		protos []string
		want   string
	}{
		"good":             {[]string{entry}, ""},
		"not base64":       {[]string{tag(seedwire.Draft07) + "!"}, "ALPN entry"},
		"padded":           {[]string{entry + "="}, "ALPN entry"},
		"cut short":        {[]string{tag(seedwire.Draft07) + base64url.EncodeToString(good[:9])}, "cut short"},
		"too much":         {[]string{tag(seedwire.Draft07) + base64url.EncodeToString(append(bytes.Clone(good), 0))}, "cut short"},
		"two drafts":       {[]string{entry, tag(seedwire.Draft02) + "AAAA"}, "drafts"},
		"too many":         {many, "more than 8"},
		"a nonce too long": {[]string{tag(seedwire.Draft07) + base64url.EncodeToString(long)}, "65 bytes"},
		"a later version":  {[]string{"attested-tls/99:AAAA", entry}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			addr, outcomes := serve(t, newServer(t, Config{Credential: m.credential()}).TLSConfig())
			c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: test.protos})
			o := <-outcomes
			if test.want == "" {
				require.NoError(t, err)
				require.NoError(t, o.err)
				require.NoError(t, c.Close())
				return
			}
			require.ErrorContains(t, err, "internal error")
			require.ErrorIs(t, o.err, tlsbinding.ErrProtocol)
			require.ErrorContains(t, o.err, test.want)
		})
	}
}

// What a server's CertificateRequest can get wrong.
func TestBadChallenge(t *testing.T) {
	m := newMachine(t)
	nonce := bytes.Repeat([]byte{1}, 32)
	selected := mediaType(seedwire.Draft07, bundle.MediaType, seedwire.Attestation)
	name := func(d seedwire.Draft, h seedwire.ServerHello) []byte {
		der, err := toName(d, &h)
		require.NoError(t, err)
		return der
	}
	good := name(seedwire.Draft07, seedwire.ServerHello{EvidenceProposal: &seedwire.EvidenceChallenge{Selected: selected, Nonce: nonce}})
	unoffered := selected
	unoffered.MediaType = "application/eat+cwt"
	verifier := "embedded"
	for title, test := range map[string]struct {
		names [][]byte
		want  string
	}{
		"good":        {[][]byte{good}, ""},
		"beside a CA": {[][]byte{newAuthority(t).cert.RawSubject, good}, ""},
		"two": {[][]byte{good, name(seedwire.Draft07, seedwire.ServerHello{EvidenceProposal: &seedwire.EvidenceChallenge{
			Selected: selected, Nonce: bytes.Repeat([]byte{2}, 32)}})}, "two challenges"},
		"another version": {[][]byte{name(seedwire.Draft02, seedwire.ServerHello{EvidenceProposal: &seedwire.EvidenceChallenge{
			Selected: mediaType(seedwire.Draft02, bundle.MediaType, 0), Nonce: nonce}})}, "answers in"},
		"not offered": {[][]byte{name(seedwire.Draft07, seedwire.ServerHello{EvidenceProposal: &seedwire.EvidenceChallenge{
			Selected: unoffered, Nonce: nonce}})}, "not offered"},
		"a passport":       {[][]byte{name(seedwire.Draft07, seedwire.ServerHello{ResultsProposal: &verifier})}, "not offered"},
		"nothing":          {[][]byte{name(seedwire.Draft07, seedwire.ServerHello{})}, "neither or both"},
		"a nonce too long": {[][]byte{name(seedwire.Draft07, seedwire.ServerHello{EvidenceProposal: &seedwire.EvidenceChallenge{Selected: selected, Nonce: make([]byte, 65)}})}, "65 bytes"},
	} {
		t.Run(title, func(t *testing.T) {

			ca := newAuthority(t)
			cfg := &tls.Config{Certificates: []tls.Certificate{ca.issue(m.key)}, ClientAuth: tls.RequireAnyClientCert, ClientCAs: namePool(test.names)}
			addr, outcomes := serve(t, cfg)
			c := newClient(t, Config{TLS: &tls.Config{RootCAs: ca.pool(), ServerName: "example.test"}, Credential: m.credential()})
			_, err := connectPlain(t, c, addr)
			o := <-outcomes
			if test.want == "" {
				require.NoError(t, err)
				require.NoError(t, o.err)
				return
			}
			require.ErrorIs(t, err, tlsbinding.ErrProtocol)
			require.ErrorContains(t, err, test.want)
			require.Error(t, o.err)
		})
	}
}
