// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"crypto"
	"crypto/tls"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewConnection(t *testing.T) {
	for _, suite := range tls13Suites {
		t.Run(tls.CipherSuiteName(suite), func(t *testing.T) {
			onlySuite(t, suite)
			clientState, serverState := states(t, tls.VersionTLS13)
			require.Equal(t, suite, clientState.CipherSuite)
			client, err := NewConnection(&clientState)
			require.NoError(t, err)
			server, err := NewConnection(&serverState)
			require.NoError(t, err)

			want := crypto.SHA256
			if suite == tls.TLS_AES_256_GCM_SHA384 {
				want = crypto.SHA384
			}
			require.Equal(t, want, client.Hash())
			require.Equal(t, want, server.Hash())

			a, err := client.Export("EXPORTER-test", []byte("context"), 32)
			require.NoError(t, err)
			b, err := server.Export("EXPORTER-test", []byte("context"), 32)
			require.NoError(t, err)
			require.Len(t, a, 32)
			require.Equal(t, a, b)
			other, err := client.Export("EXPORTER-test", []byte("another"), 32)
			require.NoError(t, err)
			require.NotEqual(t, a, other)
		})
	}
}

func TestNewConnectionRefuses(t *testing.T) {
	_, err := NewConnection(nil)
	require.EqualError(t, err, "no TLS connection given")

	_, err = NewConnection(&tls.ConnectionState{})
	require.EqualError(t, err, "the TLS handshake is not complete: call Handshake first")

	client, server := states(t, tls.VersionTLS12)
	for _, state := range []*tls.ConnectionState{&client, &server} {
		_, err = NewConnection(state)
		require.EqualError(t, err, "the connection is TLS 1.2: exported authenticators are made on TLS 1.3 only")
	}

	client, _ = states(t, tls.VersionTLS13)
	client.CipherSuite = 0x1304
	_, err = NewConnection(&client)
	require.EqualError(t, err, "the hash of cipher suite 0x1304 is not known")

	client, _ = states(t, tls.VersionTLS13)
	client.HandshakeComplete = false
	_, err = NewConnection(&client)
	require.EqualError(t, err, "the TLS handshake is not complete: call Handshake first")
}

// A client may look at a connection in VerifyConnection, before its exporters
// exist: that is an error, not a panic.
func TestNotInVerifyConnection(t *testing.T) {
	clientConn, serverConn := tcpPair(t)
	key := p256()
	go func() {
		s := tls.Server(serverConn, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{selfSigned(t, key)}, PrivateKey: key}}})
		_ = s.Handshake()
	}()
	refusal := errors.New("refused")
	c := tls.Client(clientConn, &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(state tls.ConnectionState) error {
		_, err := NewConnection(&state)
		require.EqualError(t, err, "the TLS handshake is not complete: call Handshake first")
		return refusal
	}})
	require.ErrorIs(t, c.Handshake(), refusal)
}

// The caller's variable may go on to hold the state of another connection.
func TestConnectionKeepsItsState(t *testing.T) {
	state, _ := states(t, tls.VersionTLS13)
	connection, err := NewConnection(&state)
	require.NoError(t, err)
	before, err := connection.Export("EXPORTER-test", nil, 32)
	require.NoError(t, err)
	state, _ = states(t, tls.VersionTLS13)
	after, err := connection.Export("EXPORTER-test", nil, 32)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// An exporter that fails makes an error of each operation.
func TestExporterFails(t *testing.T) {
	broken := errors.New("exporter broken")
	l, _ := specimen(t)
	for name, export := range map[string]exporter{
		"error": func(string, []byte, int) ([]byte, error) { return nil, broken },
		"short": func(_ string, _ []byte, n int) ([]byte, error) { return make([]byte, n-1), nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := newConnection(crypto.SHA256, export)
			_, err := c.Authenticate(t.Context(), Server, l.request, credentialFor(t, p256()))
			requireFault(t, err, "authenticator", "internal_error", nil)
			_, err = c.Refuse(Server, l.request)
			requireFault(t, err, "Finished", "internal_error", nil)
			_, err = c.Validate(Server, l.request, l.authenticator())
			requireFault(t, err, "authenticator", "internal_error", nil)
			_, err = c.Validate(Server, l.request, l.empty())
			requireFault(t, err, "Finished", "internal_error", nil)
			require.NotErrorIs(t, err, ErrEmpty)
		})
	}
}

func TestRole(t *testing.T) {
	require.Equal(t, Server, Client.Peer())
	require.Equal(t, Client, Server.Peer())
	require.Equal(t, Role(0), Role(0).Peer())
	require.Equal(t, "client", Client.String())
	require.Equal(t, "server", Server.String())
	require.Equal(t, "role 0", Role(0).String())
}
