// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/cmw"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/internal/seedwire"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// craft is what a server of a test sends. It is right unless the test changes
// it.
type craft struct {
	t      testing.TB
	m      *machine
	mint   *mint
	hello  seedwire.ClientHello
	answer *seedwire.ServerHello // nil for a name without extensions
	record []byte
	key    crypto.Signer
	chain  [][]byte // made of the rest if nil
	proto  string   // the application protocol that is selected
}

func (c *craft) issuer() []byte {
	if c.answer == nil {
		return nil
	}
	name, err := toName(seedwire.Draft07, c.answer)
	require.NoError(c.t, err)
	return name
}

func (c *craft) attest(nonce []byte) []byte {
	record, err := c.m.Attest(context.Background(), nonce)
	require.NoError(c.t, err)
	return record
}

// evidence is a certificate for a key with a CMW.
func (c *craft) evidence(key crypto.PublicKey, record []byte) []byte {
	der, err := c.mint.evidence(key, c.issuer(), record)
	require.NoError(c.t, err)
	return der
}

// extended is one with any extensions.
func (c *craft) extended(extensions ...pkix.Extension) []byte {
	der, err := c.mint.certificate(c.key.Public(), c.issuer(), extensions)
	require.NoError(c.t, err)
	return der
}

func octets(t testing.TB, b []byte) []byte {
	t.Helper()
	der, err := asn1.Marshal(b)
	require.NoError(t, err)
	return der
}

func crafted(t testing.TB, m *machine, change func(*craft)) *tls.Config {
	t.Helper()
	mint, err := newMint()
	require.NoError(t, err)
	return &tls.Config{GetConfigForClient: func(chi *tls.ClientHelloInfo) (*tls.Config, error) {
		_, draft, block, err := fromALPN(chi.SupportedProtos)
		if err != nil {
			return nil, err
		}
		c := &craft{t: t, m: m, mint: mint, key: m.key}
		if c.hello, err = seedwire.DecodeClientHello(draft, block); err != nil {
			return nil, err
		}
		if r := c.hello.EvidenceRequest; r != nil {
			c.answer = &seedwire.ServerHello{EvidenceRequest: &r.Supported[0]}
			c.record = c.attest(r.Nonce)
		} else {
			c.answer = &seedwire.ServerHello{ResultsRequest: &c.hello.ResultsRequest[0]}
		}
		if change != nil {
			change(c)
		}
		if c.chain == nil {
			c.chain = [][]byte{c.evidence(c.key.Public(), c.record)}
		}
		t := &tls.Config{Certificates: []tls.Certificate{{Certificate: c.chain, PrivateKey: c.key}}}
		if c.proto != "" {
			t.NextProtos = []string{c.proto}
		}
		return t, nil
	}}
}

// What a server can get wrong, one thing at a time.
func TestBadEvidence(t *testing.T) {
	m, other := newMachine(t), newMachine(t)
	v := newVerifier(t, m, other)
	ca := newAuthority(t)
	var earlier []byte
	otherKey := evidencetest.ECKey(t, elliptic.P256())
	for name, test := range map[string]struct {
		change func(*craft)
		is     error
		want   string // "" if the client accepts it
		pki    bool
	}{
		"nothing": {},
		"a nonce of another connection": {change: func(c *craft) {
			if earlier == nil {
				earlier = c.attest(bytes.Repeat([]byte{7}, 32))
			}
			c.record = earlier
		}, want: "integrity validation failed"},
		"another machine": {change: func(c *craft) {
			c.m, c.key = other, other.key
			c.record = c.attest(c.hello.EvidenceRequest.Nonce)
		}, want: "not one of the machines that are named"},
		"evidence for another key": {change: func(c *craft) { c.key = otherKey }, is: tlsbinding.ErrNotBound, want: "attested key"},
		"the right key in the last certificate": {change: func(c *craft) {
			c.chain = [][]byte{c.extended(), c.evidence(c.key.Public(), c.record)}
		}, want: "the evidence comes as CERT_ATTESTATION, want ATTESTATION"},
		"evidence alone where a chain is asked for": {pki: true, want: "failed to verify certificate"},
		"evidence in a leaf beside a chain": {pki: true, change: func(c *craft) {
			// A CA that puts the evidence into what it issues does not exist:
			// the first certificate is not validated by the second.
			c.chain = [][]byte{c.evidence(c.key.Public(), c.record), ca.issue(c.key).Certificate[0]}
		}, want: "failed to verify certificate"},
		"chain and evidence": {pki: true, change: func(c *craft) {
			c.chain = [][]byte{ca.issue(c.key).Certificate[0], c.evidence(c.key.Public(), c.record)}
		}},
		"evidence certificate for another key": {pki: true, change: func(c *craft) {
			c.chain = [][]byte{ca.issue(otherKey).Certificate[0], c.evidence(c.m.key.Public(), c.record)}
			c.key = otherKey
		}, is: tlsbinding.ErrNotBound, want: "for another key than the peer's"},
		"evidence in the middle": {change: func(c *craft) {
			c.chain = [][]byte{c.extended(), c.evidence(c.key.Public(), c.record), c.extended()}
		}, is: tlsbinding.ErrProtocol, want: "certificate 2 of 3"},
		"evidence in two certificates": {change: func(c *craft) {
			c.chain = [][]byte{c.evidence(c.key.Public(), c.record), c.evidence(c.key.Public(), c.record)}
		}, is: tlsbinding.ErrProtocol, want: "two CMW extensions"},
		"evidence twice in one": {change: func(c *craft) {
			e := pkix.Extension{Id: oidCMW, Value: octets(c.t, c.record)}
			c.chain = [][]byte{c.extended(e, e)}
		}, want: "duplicate extension"},
		"a critical extension": {change: func(c *craft) { // RFC 9999 allows it
			c.chain = [][]byte{c.extended(pkix.Extension{Id: oidCMW, Critical: true, Value: octets(c.t, c.record)})}
		}},
		"JSON": {change: func(c *craft) {
			evidence, err := bundle.Unwrap(c.record)
			require.NoError(c.t, err)
			text, err := bundle.WrapJSON(evidence)
			require.NoError(c.t, err)
			value, err := asn1.MarshalWithParams(string(text), "utf8")
			require.NoError(c.t, err)
			c.chain = [][]byte{c.extended(pkix.Extension{Id: oidCMW, Value: value})}
		}},
		"JSON as octets": {change: func(c *craft) {
			evidence, err := bundle.Unwrap(c.record)
			require.NoError(c.t, err)
			c.record, err = bundle.WrapJSON(evidence)
			require.NoError(c.t, err)
		}, is: tlsbinding.ErrProtocol, want: "a UTF8String holds JSON"},
		"not ASN.1": {change: func(c *craft) {
			c.chain = [][]byte{c.extended(pkix.Extension{Id: oidCMW, Value: c.record})}
		}, is: tlsbinding.ErrProtocol, want: "CMW extension"},
		"trailing bytes": {change: func(c *craft) {
			c.chain = [][]byte{c.extended(pkix.Extension{Id: oidCMW, Value: append(octets(c.t, c.record), 0)})}
		}, is: tlsbinding.ErrProtocol, want: "1 bytes too many"},
		"oversized": {change: func(c *craft) { c.record = make([]byte, cmw.MaxSize+1) }, is: tlsbinding.ErrProtocol, want: "want at most"},
		"the largest": {change: func(c *craft) {
			r, err := cmw.Decode(c.record)
			require.NoError(c.t, err)
			r.Value = append(r.Value, make([]byte, cmw.MaxSize-len(c.record))...)
			c.record = r.EncodeCBOR()
			require.True(c.t, len(c.record) == cmw.MaxSize)
		}, want: "could not establish identity"},
		"results for evidence": {change: func(c *craft) {
			r, err := cmw.Decode(c.record)
			require.NoError(c.t, err)
			r.Indicator = cmw.AttestationResults
			c.record = r.EncodeCBOR()
		}, is: tlsbinding.ErrProtocol, want: "indicator 8"},
		"evidence of another type": {change: func(c *craft) {
			r, err := cmw.Decode(c.record)
			require.NoError(c.t, err)
			r.Type = "application/eat+cwt"
			c.record = r.EncodeCBOR()
		}, is: tlsbinding.ErrProtocol, want: `"application/eat+cwt"`},
		"a passport for evidence": {change: func(c *craft) {
			p, err := c.m.passport(v)(context.Background())
			require.NoError(c.t, err)
			c.record = cmw.Record{Type: tlsbinding.MediaTypeEAR, Value: p.EAR, Indicator: cmw.AttestationResults}.EncodeCBOR()
		}, is: tlsbinding.ErrProtocol, want: "application/eat+jwt"},
		"a choice that was not offered": {change: func(c *craft) {
			c.answer.EvidenceRequest.MediaType = "application/eat+cwt"
		}, is: tlsbinding.ErrProtocol, want: "not offered"},
		"a passport that was not asked for": {change: func(c *craft) {
			name := "embedded"
			c.answer = &seedwire.ServerHello{ResultsRequest: &name}
		}, is: tlsbinding.ErrProtocol, want: "not offered"},
		"two choices": {change: func(c *craft) {
			name := "embedded"
			c.answer.ResultsRequest = &name
		}, is: tlsbinding.ErrProtocol, want: "neither or both"},
		"no choice":       {change: func(c *craft) { c.answer = nil }, is: tlsbinding.ErrProtocol, want: "does not say what it chose"},
		"an empty choice": {change: func(c *craft) { c.answer = new(seedwire.ServerHello) }, is: tlsbinding.ErrProtocol, want: "neither or both"},
		"no evidence":     {change: func(c *craft) { c.chain = [][]byte{c.extended()} }, want: "no certificate carries evidence"},
		"nothing at all": {change: func(c *craft) {
			c.answer = nil
			c.chain = [][]byte{c.extended()}
		}, is: tlsbinding.ErrNotSpoken, want: bundle.MediaType},
		"our entry as the application's protocol": {change: func(c *craft) {
			entries, err := toALPN(seedwire.Draft07, marshal(c.t, seedwire.Draft07, &c.hello))
			require.NoError(c.t, err)
			c.proto = entries[0]
		}, is: tlsbinding.ErrNotSpoken, want: "for an application protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := serve(t, crafted(t, m, test.change))
			cfg := Config{Requirement: requirement(v, m)}
			if test.pki {
				cfg.Requirement.InsecureSkipPKI = false
				cfg.TLS = &tls.Config{RootCAs: ca.pool(), ServerName: "example.test"}
			}
			c := newClient(t, cfg)
			conn, err := c.Dial(t.Context(), "tcp", addr)
			if test.want == "" {
				require.NoError(t, err)
				require.NoError(t, echo(conn))
				require.NoError(t, conn.Close())
			} else {
				require.Nil(t, conn)
				require.ErrorContains(t, err, test.want)
				if test.is != nil {
					require.ErrorIs(t, err, test.is)
				}
			}
			v.requireClosed(t)
		})
	}
}

func marshal(t testing.TB, d seedwire.Draft, h *seedwire.ClientHello) []byte {
	t.Helper()
	block, err := h.Marshal(d)
	require.NoError(t, err)
	return block
}

// Passports that a server should not get away with.
func TestBadPassport(t *testing.T) {
	m, other := newMachine(t), newMachine(t)
	v, stranger := newVerifier(t, m, other), newVerifier(t, m)
	ear := func(c *craft, m *machine, v *verifier) {
		p, err := m.passport(v)(context.Background())
		require.NoError(c.t, err)
		c.record = cmw.Record{Type: tlsbinding.MediaTypeEAR, Value: p.EAR, Indicator: cmw.AttestationResults}.EncodeCBOR()
	}
	for name, test := range map[string]struct {
		change func(*craft)
		want   string
	}{
		"nothing":            {change: func(c *craft) { ear(c, m, v) }},
		"another verifier's": {change: func(c *craft) { ear(c, m, stranger) }, want: `passport by "embedded"`},
		"another machine's": {change: func(c *craft) {
			c.key = other.key
			ear(c, other, v)
		}, want: "not one of the machines"},
		"another machine's, with this key": {change: func(c *craft) { ear(c, other, v) }, want: "attested key"},
		"evidence": {change: func(c *craft) {
			c.record = c.attest(make([]byte, 32))
		}, want: "want results"},
		"another verifier": {change: func(c *craft) {
			ear(c, m, v)
			name := "another"
			c.answer.ResultsRequest = &name
		}, want: "not offered"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := serve(t, crafted(t, m, test.change))
			r := requirement(nil, m)
			r.Verifier, r.Issuers = nil, []tlsbinding.Issuer{v.issuer()}
			conn, err := newClient(t, Config{Requirement: r}).Dial(t.Context(), "tcp", addr)
			if test.want == "" {
				require.NoError(t, err)
				require.NoError(t, conn.Close())
				return
			}
			require.Nil(t, conn)
			require.ErrorContains(t, err, test.want)
		})
	}

	t.Run("too old", func(t *testing.T) {
		p, err := m.passport(v)(t.Context())
		require.NoError(t, err)
		time.Sleep(1100 * time.Millisecond) // a result's time has whole seconds
		addr, _ := serve(t, crafted(t, m, func(c *craft) {
			c.record = cmw.Record{Type: tlsbinding.MediaTypeEAR, Value: p.EAR, Indicator: cmw.AttestationResults}.EncodeCBOR()
		}))
		r := requirement(nil, m)
		issuer := v.issuer()
		issuer.MaxAge, issuer.Skew = 50*time.Millisecond, time.Nanosecond
		r.Verifier, r.Issuers = nil, []tlsbinding.Issuer{issuer}
		_, err = newClient(t, Config{Requirement: r}).Dial(t.Context(), "tcp", addr)
		require.ErrorContains(t, err, "passport by")
	})
}

// What a client can get wrong, as a server sees it.
func TestBadClientEvidence(t *testing.T) {
	m := newMachine(t)
	ca := newAuthority(t)
	mint, err := newMint()
	require.NoError(t, err)
	otherKey := evidencetest.ECKey(t, elliptic.P256())
	for name, test := range map[string]struct {
		certificate func(t testing.TB, nonce []byte) tls.Certificate
		pki         bool
		is          error
		want        string
	}{
		"no certificate": {func(testing.TB, []byte) tls.Certificate { return tls.Certificate{} }, false, nil, "didn't provide a certificate"},
		"no evidence": {func(t testing.TB, _ []byte) tls.Certificate { return ca.issue(m.key) }, false,
			tlsbinding.ErrProtocol, "shows no evidence"},
		"another nonce": {func(t testing.TB, nonce []byte) tls.Certificate {
			return minted(t, mint, m, m.key, bytes.Repeat([]byte{1}, 32))
		}, false, nil, "integrity validation failed"},
		"another key": {func(t testing.TB, nonce []byte) tls.Certificate { return minted(t, mint, m, otherKey, nonce) }, false,
			tlsbinding.ErrNotBound, "attested key"},
		"no PKI": {func(t testing.TB, nonce []byte) tls.Certificate { return minted(t, mint, m, m.key, nonce) }, true, nil, "unknown authority"},
		"the key is another's": {func(t testing.TB, nonce []byte) tls.Certificate {
			c := minted(t, mint, m, m.key, nonce)
			c.PrivateKey = impostor{otherKey, m.key.Public()}
			return c
		}, false, nil, "invalid signature by the client certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, m)
			cfg := Config{TLS: &tls.Config{Certificates: []tls.Certificate{ca.issue(otherKey)}, ClientCAs: ca.pool()}, Requirement: requirement(v, m)}
			kind := seedwire.Attestation
			if test.pki {
				cfg.Requirement.InsecureSkipPKI = false
				kind = seedwire.CertAttestation
			}
			s := newServer(t, cfg)
			addr, outcomes := serve(t, s.TLSConfig())
			hello := seedwire.ClientHello{EvidenceProposal: []seedwire.EvidenceType{mediaType(seedwire.Draft07, bundle.MediaType, kind)}}
			entries, err := toALPN(seedwire.Draft07, marshal(t, seedwire.Draft07, &hello))
			require.NoError(t, err)
			conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: entries,
				GetClientCertificate: func(cri *tls.CertificateRequestInfo) (*tls.Certificate, error) {
					var nonce []byte
					for _, name := range cri.AcceptableCAs {
						if h, _ := fromName(seedwire.Draft07, name); h != nil {
							nonce = h.EvidenceProposal.Nonce
						}
					}
					assert.Len(t, nonce, 32)
					c := test.certificate(t, nonce)
					return &c, nil
				}})
			if err == nil { // the client has finished before the server looks
				require.Error(t, echo(conn))
				conn.Close()
			}
			o := <-outcomes
			require.ErrorContains(t, o.err, test.want)
			if test.is != nil {
				require.ErrorIs(t, o.err, test.is)
			}
			_, ok := s.PeerOf(o.state)
			assert.False(t, ok)
			v.requireClosed(t)
		})
	}
}

func minted(t testing.TB, mint *mint, m *machine, key crypto.Signer, nonce []byte) tls.Certificate {
	t.Helper()
	record, err := m.Attest(t.Context(), nonce)
	require.NoError(t, err)
	der, err := mint.evidence(key.Public(), nil, record)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// impostor signs with one key and says that it is another.
type impostor struct {
	crypto.Signer
	public crypto.PublicKey
}

func (i impostor) Public() crypto.PublicKey { return i.public }
