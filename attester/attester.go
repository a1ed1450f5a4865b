// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/veraison/attested-tls/bundle"
)

// Attester is one side of an attested connection: a TPM, its keys, and what of
// the platform they attest. It may be used concurrently.
type Attester struct {
	tpm *TPM
	cfg AttestConfig
}

// NewAttester makes an Attester after it tried everything once, so that what a
// verifier or a TLS peer would refuse fails here: the PCRs are there, evidence
// verifies, and the TIK makes signatures that TLS 1.3 accepts. The TPM stays the
// caller's to close.
func NewAttester(ctx context.Context, cfg AttestConfig) (*Attester, error) {
	a, err := newAttester(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("setting up an attester: %w", err)
	}
	return a, nil
}

func newAttester(ctx context.Context, cfg AttestConfig) (*Attester, error) {
	cfg.Selection = slices.Clone(cfg.Selection)
	for i := range cfg.Selection {
		cfg.Selection[i].PCRs = slices.Clone(cfg.Selection[i].PCRs)
	}
	for _, k := range []*Key{cfg.AK.Key(), cfg.TIK.Key()} {
		if k == nil {
			return nil, errNoKey
		}
	}
	if err := cfg.TIK.checkTLS13(); err != nil {
		return nil, err
	}
	a := &Attester{tpm: cfg.AK.key.tpm, cfg: cfg}
	nonce := make([]byte, maxNonceSize/2)
	rand.Read(nonce)
	evidence, err := a.Bundle(ctx, nonce)
	if err != nil {
		return nil, err
	}
	u, err := bundle.Parse(evidence)
	if err == nil {
		_, err = u.Verify(cfg.AK.Public(), nonce)
	}
	if err != nil {
		return nil, fmt.Errorf("a verifier would refuse the evidence: %w", err)
	}
	return a, nil
}

// Attest makes evidence for nonce as a CMW record in CBOR, media type
// [bundle.MediaTypeCMWCBOR]. nonce has 8 to 64 bytes.
func (a *Attester) Attest(ctx context.Context, nonce []byte) ([]byte, error) {
	evidence, err := a.Bundle(ctx, nonce)
	if err != nil {
		return nil, err
	}
	cmw, err := bundle.WrapCBOR(evidence)
	if err != nil {
		return nil, fmt.Errorf("attesting: %w", err)
	}
	return cmw, nil
}

// Bundle makes the same evidence without the CMW around it, media type
// [bundle.MediaType].
func (a *Attester) Bundle(ctx context.Context, nonce []byte) ([]byte, error) {
	return a.tpm.Attest(ctx, a.cfg, nonce)
}

// Signer signs with the TIK: see [TIK.Signer].
func (a *Attester) Signer() crypto.Signer { return a.cfg.TIK.Signer() }

// AK is the key that signs the evidence.
func (a *Attester) AK() *AK { return a.cfg.AK }

// TIK is the key that the evidence is about.
func (a *Attester) TIK() *TIK { return a.cfg.TIK }
