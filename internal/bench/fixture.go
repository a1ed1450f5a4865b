// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/internal/tpmwire"
)

const (
	class = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"
	pcrs  = "sha256:0,1,2,3,4,5,6,7"
)

// newInputs makes what everything here is measured with: evidence of a
// simulated TPM with ECDSA P-256 keys, which Veraison's own plugin takes too,
// and one CoRIM that endorses it.
func newInputs(ctx context.Context) (_ inputs, err error) {
	sim, err := simulator.Open()
	if err != nil {
		return inputs{}, err
	}
	tpm := attester.New(sim)
	defer func() { err = errors.Join(err, tpm.Close()) }()

	alg := attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256}
	ak, err := tpm.CreateAK(ctx, alg)
	if err != nil {
		return inputs{}, err
	}
	tik, err := tpm.CreateTIK(ctx, alg)
	if err != nil {
		return inputs{}, err
	}
	selection, err := attester.ParseSelection(pcrs)
	if err != nil {
		return inputs{}, err
	}
	in := inputs{Nonce: make([]byte, 32)}
	if _, err := rand.Read(in.Nonce); err != nil {
		return inputs{}, fmt.Errorf("making a nonce: %w", err)
	}
	if in.Evidence, err = tpm.Attest(ctx, attester.AttestConfig{AK: ak, TIK: tik, Selection: selection}, in.Nonce); err != nil {
		return inputs{}, err
	}
	values, err := tpm.ReadPCRs(ctx, selection)
	if err != nil {
		return inputs{}, err
	}
	if in.Corim, err = newCorim(ak, values); err != nil {
		return inputs{}, err
	}
	if in.Key, err = x509.MarshalPKIXPublicKey(ak.Public()); err != nil {
		return inputs{}, fmt.Errorf("encoding the attestation key: %w", err)
	}
	in.Signed, err = signedIn(in.Evidence)
	return in, err
}

func newCorim(ak *attester.AK, values map[crypto.Hash]map[int][]byte) ([]byte, error) {
	anchor, err := endorsements.NewTrustAnchor(class, ak.KID(), ak.PEM())
	if err != nil {
		return nil, err
	}
	var state []endorsements.PCRValue
	for bank, digests := range values {
		for index, digest := range digests {
			state = append(state, endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: index}, Digest: digest})
		}
	}
	reference, err := endorsements.NewReferenceState(class, state)
	if err != nil {
		return nil, err
	}
	c := endorsements.Corim{
		ID:      "attested-tls benchmark",
		Anchors: []endorsements.TrustAnchor{anchor},
		States:  []endorsements.ReferenceState{reference},
	}
	return c.Encode(endorsements.DialectV1)
}

// signedIn returns the two statements of a bundle with their signatures.
func signedIn(evidence []byte) ([]signed, error) {
	k, p, err := bundle.Decode(evidence)
	if err != nil {
		return nil, err
	}
	all := []signed{{Message: k.CertInfo, Signature: k.Sig}, {Message: p.AttestInfo, Signature: p.Sig}}
	for i := range all {
		s, err := tpmwire.ParseSignature(all[i].Signature)
		if err != nil {
			return nil, err
		}
		// RFC 3279, section 2.2.3.
		all[i].Signature, err = asn1.Marshal(struct{ R, S *big.Int }{
			new(big.Int).SetBytes(s.R), new(big.Int).SetBytes(s.S),
		})
		if err != nil {
			return nil, fmt.Errorf("encoding a signature: %w", err)
		}
	}
	return all, nil
}
