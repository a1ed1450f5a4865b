// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"fmt"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

// class is the kind of machine that the demo's is: a UUID that its owner chose.
const class = "7d9e2c1a-5b0f-4f6e-9c1d-0a6b54d3e2f1"

// extended is the PCR that the demo extends, one of those that are attested.
const extended = 7

// machine is a machine with a TPM.
type machine struct {
	tpm       *attester.TPM
	ak        *attester.AK
	tik       *attester.TIK
	alg       attester.KeyAlg
	selection attester.Selection
}

func newMachine(ctx context.Context, p *printer) (_ *machine, err error) {
	p.step("making an attestation key (AK) and a TLS identity key (TIK) in a simulated TPM")
	sim, err := simulator.Open()
	if err != nil {
		return nil, err
	}
	m := &machine{tpm: attester.New(sim), alg: attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256}}
	defer func() {
		if err != nil {
			_ = m.close() // the first failure is the one to tell of
		}
	}()
	if m.selection, err = attester.ParseSelection("sha256:0,1,2,3,4,5,6,7"); err != nil {
		return nil, err
	}
	if m.ak, err = m.tpm.CreateAK(ctx, m.alg); err != nil {
		return nil, fmt.Errorf("making the AK: %w", err)
	}
	if m.tik, err = m.tpm.CreateTIK(ctx, m.alg); err != nil {
		return nil, fmt.Errorf("making the TIK: %w", err)
	}
	p.line("AK  %s, kid %x", m.alg, m.ak.KID())
	p.line("TIK %s, %s", m.alg, fingerprint(m.tik.Public()))
	return m, nil
}

func (m *machine) close() error { return m.tpm.Close() }

// endorse makes a CoRIM of the machine as it is now.
func (m *machine) endorse(ctx context.Context) (*endorsements.Corim, error) {
	anchor, err := endorsements.NewTrustAnchor(class, m.ak.KID(), m.ak.PEM())
	if err != nil {
		return nil, fmt.Errorf("making a trust anchor: %w", err)
	}
	pcrs, err := m.tpm.ReadPCRs(ctx, m.selection)
	if err != nil {
		return nil, fmt.Errorf("reading PCRs: %w", err)
	}
	var values []endorsements.PCRValue
	for bank, digests := range pcrs {
		for index, digest := range digests {
			values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: index}, Digest: digest})
		}
	}
	state, err := endorsements.NewReferenceState(class, values)
	if err != nil {
		return nil, fmt.Errorf("making a reference state: %w", err)
	}
	return &endorsements.Corim{
		ID:      "attested-tls demo",
		Anchors: []endorsements.TrustAnchor{anchor},
		States:  []endorsements.ReferenceState{state},
	}, nil
}

// attest makes evidence for a nonce.
func (m *machine) attest(ctx context.Context, nonce []byte) ([]byte, error) {
	return m.tpm.Attest(ctx, attester.AttestConfig{AK: m.ak, TIK: m.tik, Selection: m.selection}, nonce)
}

// attestUnprotected makes evidence about a key that may leave the TPM.
func (m *machine) attestUnprotected(ctx context.Context, nonce []byte) ([]byte, error) {
	key, err := tpmtest.Duplicable(ctx, m.tpm, m.alg)
	if err != nil {
		return nil, fmt.Errorf("making a key that may leave the TPM: %w", err)
	}
	k, err := m.tpm.Certify(ctx, m.ak.Key(), key, nonce)
	if err != nil {
		return nil, err
	}
	q, err := m.tpm.Quote(ctx, m.ak.Key(), m.selection, nonce)
	if err != nil {
		return nil, err
	}
	return bundle.Encode(k, q)
}

// change extends a PCR, as other firmware would have.
func (m *machine) change(ctx context.Context) error {
	measurement := crypto.SHA256.New()
	fmt.Fprint(measurement, "firmware that nobody endorsed")
	return tpmtest.ExtendPCR(ctx, m.tpm, crypto.SHA256, extended, measurement.Sum(nil))
}
