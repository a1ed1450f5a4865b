// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// A configuration that is right but for one thing is refused.
func TestConfigRefused(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
		client []bool // who refuses: all if nil
	}{
		"nothing": {func(*Config) {}, "", nil},
		"relay":   {func(c *Config) { c.InsecureAcceptRelay = false }, "use package tlsbinding, or set InsecureAcceptRelay", nil},
		"zero":    {func(c *Config) { *c = Config{} }, "InsecureAcceptRelay", nil},
		"TLS":     {func(c *Config) { c.TLS = nil }, "no TLS configuration", nil},
		"neither": {func(c *Config) { c.Credential, c.Requirement = nil, nil }, "nothing would be attested", nil},
		"TLS 1.2": {func(c *Config) { c.TLS.MaxVersion = tls.VersionTLS12 }, "want TLS 1.3", nil},
		"callback": {func(c *Config) {
			c.TLS.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return nil }
		}, "use VerifyConnection", nil},
		"carrier":       {func(c *Config) { c.TLS.NextProtos = []string{"h2", "attested-tls/07:AAAA"} }, "NextProtos", nil},
		"draft":         {func(c *Config) { c.Draft = 3 }, "draft -03 is not known", nil},
		"timeout":       {func(c *Config) { c.Timeout = -1 }, "Timeout", nil},
		"handshakes":    {func(c *Config) { c.MaxHandshakes = -1 }, "MaxHandshakes is -1", nil},
		"key":           {func(c *Config) { c.Credential.Certificate.PrivateKey = nil }, "does not sign", nil},
		"leaf":          {func(c *Config) { c.Credential.Certificate.Certificate = [][]byte{{1}} }, "the certificate", nil},
		"another's":     {func(c *Config) { c.Credential.Certificate = mismatched(t) }, "for another key", nil},
		"no attester":   {func(c *Config) { c.Credential.Attester = nil }, "neither an Attester nor a Passport", nil},
		"no verifiers":  {func(c *Config) { c.Credential.Passport = m.passport(v) }, "Verifiers", nil},
		"no passport":   {func(c *Config) { c.Credential.Verifiers = []string{"a"} }, "Verifiers", nil},
		"nameless":      {func(c *Config) { c.Credential.Passport, c.Credential.Verifiers = m.passport(v), []string{""} }, "no name", nil},
		"pending":       {func(c *Config) { c.Credential.MaxPending = -1 }, "MaxPending", nil},
		"verifier":      {func(c *Config) { c.Requirement.Verifier = nil }, "nobody could appraise", nil},
		"policy":        {func(c *Config) { c.Requirement.Policy = nil }, rp.ErrNoPolicy.Error(), nil},
		"MaxAge":        {func(c *Config) { c.Requirement.MaxAge = time.Hour }, "package tlsbinding can", nil},
		"ReattestEvery": {func(c *Config) { c.Requirement.ReattestEvery = time.Hour }, "package tlsbinding can", nil},
		"certificates": {func(c *Config) {
			c.Requirement.VerifyCertificate = func([]*x509.Certificate, [][]*x509.Certificate) error { return nil }
		}, "TLS.VerifyConnection", nil},
		"any instance":  {func(c *Config) { c.Requirement.InsecureAnyInstance, c.Requirement.Instances = true, nil }, "any machine could relay", nil},
		"no identity":   {func(c *Config) { c.Requirement.Instances = nil }, "without identity", nil},
		"no CAs":        {func(c *Config) { c.Requirement.InsecureSkipPKI = false }, "TLS.ClientCAs", []bool{false}},
		"skip by TLS":   {func(c *Config) { c.Requirement.InsecureSkipPKI = false; c.TLS.InsecureSkipVerify = true }, "without InsecureSkipPKI", []bool{true}},
		"issuer's name": {func(c *Config) { c.Requirement.Issuers = []tlsbinding.Issuer{{}} }, "no name", nil},
		"issuer's keys": {func(c *Config) { c.Requirement.Issuers = []tlsbinding.Issuer{{Name: "a", MaxAge: 1}} }, "no keys", nil},
		"issuer's age": {func(c *Config) {
			c.Requirement.Issuers = []tlsbinding.Issuer{{Name: "a", Keys: v.issuer().Keys}}
		}, "MaxAge", nil},
		"-02 and passports": {func(c *Config) { c.Draft, c.Requirement.Issuers = Draft02, []tlsbinding.Issuer{v.issuer()} }, "has no passports", []bool{true}},
	} {
		t.Run(name, func(t *testing.T) {
			roles := test.client
			if roles == nil {
				roles = []bool{true, false}
			}
			for _, client := range roles {
				cfg := Config{TLS: &tls.Config{}, Credential: m.credential(), Requirement: requirement(v, m), InsecureAcceptRelay: true}
				test.change(&cfg)
				var err error
				if client {
					_, err = NewClient(cfg)
				} else {
					_, err = NewServer(cfg)
				}
				if test.want == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, test.want)
				}
			}
		})
	}
}

func mismatched(t testing.TB) tls.Certificate {
	t.Helper()
	c := newAuthority(t).issue(evidencetest.ECKey(t, elliptic.P256()))
	c.PrivateKey = evidencetest.ECKey(t, elliptic.P256())
	return c
}

// What is too much for the ClientHello is said before anything is sent.
func TestTooMuchToOffer(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	r := requirement(v, m)
	for range 5 {
		r.EvidenceTypes = append(r.EvidenceTypes, "application/a-media-type-of-some-length-that-takes-room")
	}
	_, _, err := newClient(t, Config{Requirement: r}).TLSConfig(t.Context())
	require.ErrorContains(t, err, "want at most 255")
	v.requireClosed(t)
}

// The caller's configuration stays as it is; what is made of it is hardened.
func TestHardened(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	own := &tls.Config{NextProtos: []string{"h2"}, ServerName: "example.test", MinVersion: tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(1), CurvePreferences: []tls.CurveID{tls.X25519}}
	cfg := Config{TLS: own, Credential: m.credential(), Requirement: requirement(v, m)}
	c, done, err := newClient(t, cfg).TLSConfig(t.Context())
	require.NoError(t, err)
	defer done()
	s := newServer(t, cfg).TLSConfig()
	for _, made := range []*tls.Config{c, s} {
		assert.EqualValues(t, tls.VersionTLS13, made.MinVersion)
		assert.True(t, made.SessionTicketsDisabled)
		assert.Nil(t, made.ClientSessionCache)
		assert.Nil(t, made.VerifyPeerCertificate)
		assert.Equal(t, "example.test", made.ServerName)
		assert.Equal(t, own.CurvePreferences, made.CurvePreferences)
	}
	for _, p := range c.NextProtos {
		assert.LessOrEqual(t, len(p), 255)
	}
	assert.Equal(t, "h2", c.NextProtos[0])
	assert.Equal(t, []string{"h2"}, s.NextProtos)
	assert.Equal(t, []string{"h2"}, own.NextProtos)
	assert.EqualValues(t, tls.VersionTLS12, own.MinVersion)
	assert.Nil(t, own.GetConfigForClient)
	assert.Nil(t, own.VerifyConnection)
}

// No ticket is sent, so that nothing can be resumed, whatever the caller's
// configuration says. Nor is one accepted that the same keys made.
func TestNoResumption(t *testing.T) {
	m := newMachine(t)
	ca := newAuthority(t)
	var key [32]byte
	ticketing := &tls.Config{Certificates: []tls.Certificate{ca.issue(m.key)}}
	ticketing.SetSessionTicketKeys([][32]byte{key})
	hardened := newServer(t, Config{TLS: ticketing, Credential: m.credential()})

	cache := tls.NewLRUClientSessionCache(4)
	plain := &tls.Config{RootCAs: ca.pool(), ServerName: "example.test", ClientSessionCache: cache}
	dial := func(cfg *tls.Config) bool {
		addr, _ := serve(t, cfg)
		// The name is the key in the cache.
		c, err := tls.Dial("tcp", addr, plain)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, echo(c))
		return c.ConnectionState().DidResume
	}
	require.False(t, dial(ticketing))
	require.True(t, dial(ticketing), "the control does not resume")
	require.False(t, dial(hardened.TLSConfig()))
}

// TLS 1.2 is refused before anybody is asked for anything.
func TestTLS12(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	s := newServer(t, Config{Credential: m.credential(), Requirement: requirement(v, m)})
	addr, outcomes := serve(t, s.TLSConfig())
	_, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	require.ErrorContains(t, err, "protocol version")
	require.ErrorContains(t, (<-outcomes).err, "unsupported versions")
	assert.EqualValues(t, 0, v.opened.Load())
	assert.Empty(t, m.nonces)

	cfg, done, err := newClient(t, Config{Requirement: requirement(v, m)}).TLSConfig(t.Context())
	require.NoError(t, err)
	defer done()
	addr, _ = serve(t, &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(m.key)}, MaxVersion: tls.VersionTLS12})
	_, err = tls.Dial("tcp", addr, cfg)
	require.ErrorContains(t, err, "protocol version")
}

// The caller's own callbacks have their turn, after the peer was appraised.
func TestCallersCallbacks(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	no := errors.New("the application says no")
	refuse := func(tls.ConnectionState) error { return no }
	e := connect(t, newClient(t, Config{TLS: &tls.Config{VerifyConnection: refuse}, Requirement: requirement(v, m)}),
		newServer(t, Config{Credential: m.credential()}))
	require.ErrorIs(t, e.clientErr, no)

	server := Config{TLS: &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(m.key)}, VerifyConnection: refuse}, Requirement: requirement(v, m)}
	client := Config{TLS: &tls.Config{InsecureSkipVerify: true}, Credential: m.credential()}
	e = connect(t, newClient(t, client), newServer(t, server))
	require.ErrorIs(t, e.server.err, no)

	t.Run("GetConfigForClient", func(t *testing.T) {
		ca := newAuthority(t)
		chain := client
		credential := m.credential()
		credential.Certificate = ca.issue(m.key)
		chain.Credential = credential
		chosen := &tls.Config{Certificates: server.TLS.Certificates, ClientCAs: ca.pool(), NextProtos: []string{"mqtt"}}
		var fail error
		cfg := Config{TLS: &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, fail }},
			Requirement: requirement(v, m)}
		cfg.Requirement.InsecureSkipPKI = false
		chain.TLS.NextProtos = []string{"mqtt"}
		e := connect(t, newClient(t, chain), newServer(t, cfg))
		e.requireGood(t)
		assert.Equal(t, "mqtt", e.server.state.NegotiatedProtocol)
		assert.NotNil(t, e.fromServer)
		assert.Len(t, e.server.state.VerifiedChains, 1)

		chosen.ClientCAs = nil
		e = connect(t, newClient(t, chain), newServer(t, cfg))
		require.ErrorContains(t, e.server.err, "no ClientCAs")
		chosen.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return nil }
		e = connect(t, newClient(t, chain), newServer(t, cfg))
		require.ErrorContains(t, e.server.err, "VerifyPeerCertificate")
		fail = no
		e = connect(t, newClient(t, chain), newServer(t, cfg))
		require.ErrorIs(t, e.server.err, no)
		chosen, fail = nil, nil // the parent's counts
		cfg.Requirement = requirement(v, m)
		cfg.TLS.Certificates = server.TLS.Certificates
		e = connect(t, newClient(t, chain), newServer(t, cfg))
		e.requireGood(t)
	})
	v.requireClosed(t)
}

// A server's configuration without its callback accepts nobody.
func TestCallbackReplaced(t *testing.T) {
	m := newMachine(t)
	ca := newAuthority(t)
	s := newServer(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{ca.issue(m.key)}}, Requirement: requirement(newVerifier(t, m), m)})
	cfg := s.TLSConfig()
	cfg.GetConfigForClient = nil
	addr, outcomes := serve(t, cfg)
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.pool(), ServerName: "example.test"})
	if err == nil {
		require.Error(t, echo(c))
		c.Close()
	}
	require.ErrorContains(t, (<-outcomes).err, "GetConfigForClient was replaced")
}

// The configuration of a connection serves once.
func TestOnce(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	addr, _ := serve(t, newServer(t, Config{Credential: m.credential()}).TLSConfig())
	cfg, done, err := newClient(t, Config{Requirement: requirement(v, m)}).TLSConfig(t.Context())
	require.NoError(t, err)
	defer done()
	cfg.ServerName = "example.test"
	c, err := tls.Dial("tcp", addr, cfg)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	_, err = tls.Dial("tcp", addr, cfg)
	require.ErrorContains(t, err, "it serves once")
}

func TestDialRefused(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	c := newClient(t, Config{Requirement: requirement(v, m)})
	_, err := c.Dial(t.Context(), "tcp", "no port")
	require.ErrorContains(t, err, "missing port")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	conn, err := c.Dial(t.Context(), "tcp", l.Addr().String())
	require.Nil(t, conn)
	require.Error(t, err)
	assert.EqualValues(t, 0, v.opened.Load(), "a verifier is not asked before there is a connection")
}
