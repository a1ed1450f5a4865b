// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"crypto/ecdsa"
	"crypto/tls"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/internal/seedwire"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// The three cases of the draft's section 3, in both models, both versions, and
// with and without a PKI.
func TestCases(t *testing.T) {
	a, b := newMachine(t), newMachine(t)
	v := newVerifier(t, a, b)
	ca := newAuthority(t)
	for _, draft := range []Draft{Draft02, Draft07} {
		for _, model := range []tlsbinding.Model{tlsbinding.BackgroundCheck, tlsbinding.PassportModel} {
			for _, pki := range []bool{false, true} {
				if draft == Draft02 && model == tlsbinding.PassportModel {
					continue
				}
				credential := func(m *machine) *tlsbinding.CredentialConfig {
					c := m.credential()
					if model == tlsbinding.PassportModel {
						c.Attester, c.Passport, c.Verifiers = nil, m.passport(v), []string{"embedded"}
					}
					if pki {
						c.Certificate = ca.issue(m.key)
					}
					return c
				}
				demand := func(m *machine) *tlsbinding.Requirement {
					r := requirement(v, m)
					if model == tlsbinding.PassportModel {
						r.Verifier, r.Issuers = nil, []tlsbinding.Issuer{v.issuer()}
					}
					if pki {
						r.InsecureSkipPKI, r.Instances = false, nil
					}
					return r
				}
				for _, which := range []string{"client attests", "server attests", "mutual"} {
					t.Run(fmt.Sprintf("draft %v/%v/PKI %v/%s", seedwire.Draft(draft), model, pki, which), func(t *testing.T) {
						client := Config{Draft: draft, TLS: &tls.Config{ServerName: "example.test", RootCAs: ca.pool()}}
						server := Config{TLS: &tls.Config{Certificates: []tls.Certificate{ca.issue(b.key)}, ClientCAs: ca.pool()}}
						if which != "server attests" {
							client.Credential, server.Requirement = credential(a), demand(a)
						}
						if which != "client attests" {
							server.Credential, client.Requirement = credential(b), demand(b)
						}
						e := connect(t, newClient(t, client), newServer(t, server))
						e.requireGood(t)
						check := func(peer *Peer, m *machine) {
							require.NotNil(t, peer)
							assert.Equal(t, model, peer.Model)
							assert.True(t, m.key.PublicKey.Equal(peer.Key))
							assert.Equal(t, ear.TierAffirming, peer.Result.Status)
							require.NoError(t, policy.TPM.Instances(m.tpm.KID).Check(peer.Result))
						}
						if which != "server attests" {
							check(e.fromServer, a)
							assert.Equal(t, pki, len(e.server.state.VerifiedChains) > 0)
						} else {
							assert.Nil(t, e.fromServer)
						}
						if which != "client attests" {
							check(e.fromClient, b)
							assert.Equal(t, pki, len(e.clientState.VerifiedChains) > 0)
						} else {
							assert.Nil(t, e.fromClient)
						}
						v.requireClosed(t)
					})
				}
			}
		}
	}
}

// A HelloRetryRequest changes nothing: the server answers the nonce of the first
// ClientHello, which is also that of the second.
func TestHelloRetryRequest(t *testing.T) {
	a, b := newMachine(t), newMachine(t)
	v := newVerifier(t, a, b)
	e := connect(t,
		newClient(t, Config{Credential: a.credential(), Requirement: requirement(v, b)}),
		newServer(t, Config{TLS: &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}}, Credential: b.credential(), Requirement: requirement(v, a)}))
	e.requireGood(t)
	assert.True(t, e.server.state.HelloRetryRequest)
	assert.NotNil(t, e.fromClient)
	assert.NotNil(t, e.fromServer)
	assert.Len(t, b.nonces, 1)
	v.requireClosed(t)
}

// Connections beside each other do not mix up nonces, evidence or peers.
func TestConcurrent(t *testing.T) {
	server := newMachine(t)
	machines := []*machine{newMachine(t), newMachine(t)}
	v := newVerifier(t, server, machines[0], machines[1])
	s := newServer(t, Config{Credential: server.credential(), Requirement: requirement(v, machines...)})
	addr, outcomes := serve(t, s.TLSConfig())
	const each = 8
	var wg sync.WaitGroup
	for _, m := range machines {
		c := newClient(t, Config{Credential: m.credential(), Requirement: requirement(v, server)})
		for range each {
			wg.Go(func() {
				conn, err := c.Dial(t.Context(), "tcp", addr)
				if !assert.NoError(t, err) {
					return
				}
				defer conn.Close()
				assert.NoError(t, echo(conn))
				who, ok := c.PeerOf(conn.(*tls.Conn).ConnectionState())
				assert.True(t, ok && server.key.PublicKey.Equal(who.Key))
			})
		}
	}
	wg.Wait()
	count := make([]int, len(machines))
	for range each * len(machines) {
		o := <-outcomes
		require.NoError(t, o.err)
		who, ok := s.PeerOf(o.state)
		require.True(t, ok)
		require.True(t, o.state.PeerCertificates[0].PublicKey.(*ecdsa.PublicKey).Equal(who.Key))
		for i, m := range machines {
			if m.key.PublicKey.Equal(who.Key) {
				count[i]++
				require.NoError(t, policy.TPM.Instances(m.tpm.KID).Check(who.Result))
			}
		}
	}
	assert.Equal(t, []int{each, each}, count)
	seen := map[string]bool{}
	for _, m := range append(machines, server) {
		for _, nonce := range m.nonces {
			assert.False(t, seen[string(nonce)], "a nonce serves twice")
			seen[string(nonce)] = true
		}
	}
	assert.Len(t, seen, 2*2*each)
	v.requireClosed(t)
}
