// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/internal/site"
	"github.com/veraison/attested-tls/internal/tpmtest"
)

const (
	// attested are the PCRs that the demo's machines attest.
	attested = "sha256:0,1,2,3,4,5,6,7"
	// extended is the PCR that the demo extends, one of those.
	extended = 7
)

// machines are the two of the demo. A process has room for one simulated TPM,
// which holds the keys of both; what changes in it changes for both.
type machines struct {
	tpm            *attester.TPM
	ca             *site.CA
	server, client *site.Machine
}

func newMachines(ctx context.Context, p *printer) (_ *machines, err error) {
	p.step("making an attestation key (AK) and a TLS identity key (TIK) each for two machines in a simulated TPM")
	sim, err := simulator.Open()
	if err != nil {
		return nil, err
	}
	m := &machines{tpm: attester.New(sim)}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	if m.ca, err = site.NewCA(); err != nil {
		return nil, err
	}
	for name, machine := range map[string]**site.Machine{"server": &m.server, "client": &m.client} {
		if *machine, err = m.ca.NewMachine(ctx, m.tpm, attested); err != nil {
			return nil, fmt.Errorf("the %s's machine: %w", name, err)
		}
	}
	p.machine("server", m.server)
	p.machine("client", m.client)
	return m, nil
}

func (m *machines) close() error { return m.tpm.Close() }

// attestUnprotected makes evidence about a key that may leave the TPM.
func (m *machines) attestUnprotected(ctx context.Context, nonce []byte) ([]byte, error) {
	alg := attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256}
	key, err := tpmtest.Duplicable(ctx, m.tpm, alg)
	if err != nil {
		return nil, fmt.Errorf("making a key that may leave the TPM: %w", err)
	}
	ak := m.server.AK().Key()
	k, err := m.tpm.Certify(ctx, ak, key, nonce)
	if err != nil {
		return nil, err
	}
	selection, err := attester.ParseSelection(attested)
	if err != nil {
		return nil, err
	}
	q, err := m.tpm.Quote(ctx, ak, selection, nonce)
	if err != nil {
		return nil, err
	}
	return bundle.Encode(k, q)
}

// change extends a PCR, as other firmware would have.
func (m *machines) change(ctx context.Context) error {
	measurement := crypto.SHA256.New()
	fmt.Fprint(measurement, "firmware that nobody endorsed")
	return tpmtest.ExtendPCR(ctx, m.tpm, crypto.SHA256, extended, measurement.Sum(nil))
}
