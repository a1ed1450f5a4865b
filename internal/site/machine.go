// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"crypto"
	"crypto/tls"
	"fmt"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/endorsements"
)

// Class is the kind of machine that all of a site's are.
const Class = "7d9e2c1a-5b0f-4f6e-9c1d-0a6b54d3e2f1"

// Machine attests. Its AK and its TIK are its own; several machines may be in
// one TPM, and have then the same PCRs.
type Machine struct {
	*attester.Attester
	// Certificate is the TIK's.
	Certificate tls.Certificate
	// Endorsed is what its owner endorses: the AK, and the PCRs as they were
	// when the machine was made.
	Endorsed *endorsements.Corim
}

// NewMachine makes a machine's keys in a TPM, ECDSA on P-256, and issues the
// TIK's certificate. pcrs is what the machine attests, as in "sha256:0,1,7".
func (c *CA) NewMachine(ctx context.Context, tpm *attester.TPM, pcrs string) (*Machine, error) {
	alg := attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256}
	var cfg attester.AttestConfig
	var err error
	if cfg.Selection, err = attester.ParseSelection(pcrs); err != nil {
		return nil, fmt.Errorf("making a machine: %w", err)
	}
	if cfg.AK, err = tpm.CreateAK(ctx, alg); err != nil {
		return nil, fmt.Errorf("making an AK: %w", err)
	}
	if cfg.TIK, err = tpm.CreateTIK(ctx, alg); err != nil {
		return nil, fmt.Errorf("making a TIK: %w", err)
	}
	m := &Machine{}
	if m.Attester, err = attester.NewAttester(ctx, cfg); err != nil {
		return nil, fmt.Errorf("making a machine: %w", err)
	}
	der, err := c.Issue(cfg.TIK.Public())
	if err != nil {
		return nil, err
	}
	if m.Certificate, err = cfg.TIK.Certificate(der); err != nil {
		return nil, fmt.Errorf("the TIK's certificate: %w", err)
	}
	if m.Endorsed, err = endorse(ctx, tpm, cfg); err != nil {
		return nil, fmt.Errorf("endorsing a machine: %w", err)
	}
	return m, nil
}

func endorse(ctx context.Context, tpm *attester.TPM, cfg attester.AttestConfig) (*endorsements.Corim, error) {
	anchor, err := endorsements.NewTrustAnchor(Class, cfg.AK.KID(), cfg.AK.PEM())
	if err != nil {
		return nil, err
	}
	banks, err := tpm.ReadPCRs(ctx, cfg.Selection)
	if err != nil {
		return nil, err
	}
	var values []endorsements.PCRValue
	for bank, digests := range banks {
		for index, digest := range digests {
			values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: index}, Digest: digest})
		}
	}
	state, err := endorsements.NewReferenceState(Class, values)
	if err != nil {
		return nil, err
	}
	return &endorsements.Corim{
		ID: "a machine", Anchors: []endorsements.TrustAnchor{anchor}, States: []endorsements.ReferenceState{state},
	}, nil
}
