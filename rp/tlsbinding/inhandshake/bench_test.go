// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// prepared is a machine whose TPM costs nothing: its evidence was made before,
// and only the nonce in it is replaced.
type prepared struct {
	*machine
	record, nonce []byte
}

func prepare(b *testing.B, m *machine) *prepared {
	p := &prepared{machine: m, nonce: bytes.Repeat([]byte("nonce..."), 4)}
	var err error
	p.record, err = m.Attest(b.Context(), p.nonce)
	require.NoError(b, err)
	return p
}

func (p *prepared) Attest(_ context.Context, nonce []byte) ([]byte, error) {
	if len(nonce) != len(p.nonce) {
		return nil, fmt.Errorf("a nonce of %d bytes; this is for %d", len(nonce), len(p.nonce))
	}
	return bytes.ReplaceAll(p.record, p.nonce, nonce), nil
}

// instant is a verifier that costs nothing: each machine's result was made
// before.
type instant struct{ result *rp.AttestationResult }

func prepareVerifier(b *testing.B, v *embedded.Verifier, m *machine) instant {
	s, err := v.NewSession(b.Context(), nil)
	require.NoError(b, err)
	defer s.Close()
	record, err := m.Attest(b.Context(), s.Nonce())
	require.NoError(b, err)
	r, err := s.Appraise(b.Context(), rp.Evidence{MediaType: bundle.MediaTypeCMWCBOR, Data: record})
	require.NoError(b, err)
	return instant{r}
}

func (i instant) NewSession(_ context.Context, nonce []byte) (rp.Session, error) {
	if nonce == nil {
		nonce = make([]byte, rp.NonceSize)
	}
	return instantSession{i, nonce}, nil
}

type instantSession struct {
	instant
	nonce []byte
}

func (s instantSession) Nonce() []byte   { return s.nonce }
func (instantSession) Accept() []string  { return []string{bundle.MediaType} }
func (instantSession) Expiry() time.Time { return time.Time{} }
func (instantSession) Close() error      { return nil }
func (s instantSession) Appraise(context.Context, rp.Evidence) (*rp.AttestationResult, error) {
	return s.result, nil
}

// A connection over loopback, from dialling to the echo of its first byte: plain
// TLS, this mode, and the default mode. TPM and verifier cost nothing, so that
// what remains is the protocols' own cost.
func BenchmarkHandshake(b *testing.B) {
	alice, bob := newMachine(b), newMachine(b)
	v := newVerifier(b, alice, bob)
	ca := newAuthority(b)
	client, server := prepare(b, alice), prepare(b, bob)
	ofClient, ofServer := prepareVerifier(b, v.Verifier, alice), prepareVerifier(b, v.Verifier, bob)
	tlsClient := &tls.Config{RootCAs: ca.pool(), ServerName: "example.test", MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
	tlsServer := &tls.Config{Certificates: []tls.Certificate{ca.issue(bob.key)}, ClientCAs: ca.pool(), MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
	credential := func(p *prepared) tlsbinding.CredentialConfig {
		return tlsbinding.CredentialConfig{Certificate: ca.issue(p.key), Attester: p}
	}
	demand := func(v rp.Verifier, m *machine) *tlsbinding.Requirement {
		r := requirement(v, m)
		r.InsecureSkipPKI = false
		return r
	}

	b.Run("plain", func(b *testing.B) {
		addr, _ := serve(b, tlsServer)
		load(b, func(ctx context.Context) (net.Conn, error) {
			return (&tls.Dialer{Config: tlsClient}).DialContext(ctx, "tcp", addr)
		})
	})
	for _, mutual := range []bool{false, true} {
		name := "server attests"
		if mutual {
			name = "mutual"
		}
		b.Run("in the handshake/"+name, func(b *testing.B) {
			own, theirs := credential(client), credential(server)
			c := Config{TLS: tlsClient, Requirement: demand(ofServer, bob)}
			s := Config{TLS: tlsServer, Credential: &theirs}
			if mutual {
				c.Credential, s.Requirement = &own, demand(ofClient, alice)
			}
			addr, _ := serve(b, newServer(b, s).TLSConfig())
			dialler := newClient(b, c)
			load(b, func(ctx context.Context) (net.Conn, error) { return dialler.Dial(ctx, "tcp", addr) })
		})
		b.Run("default mode/"+name, func(b *testing.B) {
			own, err := tlsbinding.NewCredential(credential(client))
			require.NoError(b, err)
			theirs, err := tlsbinding.NewCredential(credential(server))
			require.NoError(b, err)
			c := &tlsbinding.Config{TLS: tlsClient, Requirement: demand(ofServer, bob)}
			s := &tlsbinding.Config{TLS: tlsServer, Credential: theirs}
			if mutual {
				c.Credential, s.Requirement = own, demand(ofClient, alice)
			}
			addr := serveDefault(b, s)
			load(b, func(ctx context.Context) (net.Conn, error) { return tlsbinding.Dial(ctx, "tcp", addr, c) })
		})
	}
}

// serveDefault is serve for the default mode.
func serveDefault(b *testing.B, cfg *tlsbinding.Config) string {
	b.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	l, err := tlsbinding.NewListener(inner, cfg)
	require.NoError(b, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	b.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return inner.Addr().String()
}

// load makes connections, one after the other.
func load(b *testing.B, dial func(context.Context) (net.Conn, error)) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		c, err := dial(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if err := echo(c); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}
