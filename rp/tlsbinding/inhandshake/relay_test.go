// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package inhandshake

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/evidencetest"
	"github.com/veraison/attested-tls/internal/seedwire"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/policy"
	"github.com/veraison/attested-tls/rp/tlsbinding"
)

// relay is an attester without a TPM: it forwards each nonce to an honest
// server, as that one's client, and takes its evidence out of the handshake.
type relay struct {
	honest string // address
	used   int
}

func (r *relay) Attest(_ context.Context, nonce []byte) ([]byte, error) {
	hello := seedwire.ClientHello{EvidenceRequest: &seedwire.EvidenceRequest{
		Supported: []seedwire.EvidenceType{mediaType(seedwire.Draft07, bundle.MediaType, seedwire.Attestation)}, Nonce: nonce,
	}}
	block, err := hello.Marshal(seedwire.Draft07)
	if err != nil {
		return nil, err
	}
	entries, err := toALPN(seedwire.Draft07, block)
	if err != nil {
		return nil, err
	}
	c, err := tls.Dial("tcp", r.honest, &tls.Config{InsecureSkipVerify: true, NextProtos: entries})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	found, err := findEvidence(c.ConnectionState().PeerCertificates)
	if err != nil {
		return nil, err
	}
	r.used++
	return found.record.EncodeCBOR(), nil
}

// The relay against which the design of the drafts does not hold: a machine in
// the middle answers with the evidence of the honest machine, made for this very
// connection's nonce. What refuses it is that the result has to attest, as fixed
// in a TPM, the key that signs the handshake. The control is a client that does
// not ask for it, as the drafts do not: there the relay succeeds.
func TestRelay(t *testing.T) {
	inSoftware := evidencetest.TIKAttributes
	inSoftware.FixedTPM, inSoftware.FixedParent, inSoftware.SensitiveDataOrigin = false, false, false
	platform := policy.All(policy.TPM.Claim(ear.Hardware, ear.TierAffirming), policy.TPM.Claim(ear.Executables, ear.TierAffirming))
	for name, test := range map[string]struct {
		attributes tpm2.TPMAObject
		leaked     bool // the relay has the honest machine's TLS key
		want       string
	}{
		"a key of its own":                     {evidencetest.TIKAttributes, false, "attested key"},
		"the machine's key, which is software": {inSoftware, true, "attested key is absent"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			v := newVerifier(t, m)
			m.tpm.TIK.ObjectAttributes = test.attributes
			honest, _ := serve(t, newServer(t, Config{Credential: m.credential()}).TLSConfig())
			r := &relay{honest: honest}
			key := evidencetest.ECKey(t, elliptic.P256())
			if test.leaked {
				key = m.key
			}
			middle := newServer(t, Config{Credential: &tlsbinding.CredentialConfig{Certificate: tls.Certificate{PrivateKey: key}, Attester: r}})

			// The platform is as it should be and the instance the right one.
			demand := requirement(v, m)
			demand.Policy = platform
			client := newClient(t, Config{Requirement: demand})
			e := connect(t, client, middle)
			require.ErrorIs(t, e.clientErr, tlsbinding.ErrNotBound)
			require.ErrorContains(t, e.clientErr, test.want)
			require.ErrorContains(t, e.clientErr, "tlsbinding")
			require.Nil(t, e.fromClient)
			require.Error(t, e.server.err)
			require.Equal(t, 1, r.used)

			client = newClient(t, Config{Requirement: demand})
			client.side.relying.bound = func(crypto.PublicKey) rp.Policy {
				return func(*rp.AttestationResult) error { return nil }
			}
			e = connect(t, client, middle)
			e.requireGood(t)
			require.True(t, key.PublicKey.Equal(e.fromClient.Key))
			require.Equal(t, 2, r.used)
			v.requireClosed(t)
		})
	}
}

// A result that names the key, and does not say that it cannot leave its TPM, is
// not enough; nor is one that says so of another key.
func TestBound(t *testing.T) {
	m := newMachine(t)
	v := newVerifier(t, m)
	s, err := v.NewSession(t.Context(), nil)
	require.NoError(t, err)
	defer s.Close()
	record, err := m.Attest(t.Context(), s.Nonce())
	require.NoError(t, err)
	r, err := s.Appraise(t.Context(), rp.Evidence{MediaType: bundle.MediaTypeCMWCBOR, Data: record})
	require.NoError(t, err)
	require.NoError(t, inTPM(&m.key.PublicKey).Check(r))

	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	var refused *rp.PolicyError
	require.ErrorAs(t, inTPM(&other.PublicKey).Check(r), &refused)
	require.Equal(t, "attested key", refused.Claim)

	delete(r.Submods[string(policy.TPM)].Vector, ear.StorageOpaque)
	err = inTPM(&m.key.PublicKey).Check(r)
	require.True(t, errors.As(err, &refused))
	require.Equal(t, "storage-opaque", refused.Claim)
}
