// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package appraisal_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"log"

	"github.com/veraison/attested-tls/appraisal"
	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/endorsements"
)

// A verifier without Veraison: endorsements from a CoRIM, a nonce, evidence
// from a TPM, a verdict.
func ExampleAppraise() {
	tpm, corim := machine()
	defer tpm.close()

	endorsed, err := endorsements.Decode(corim)
	if err != nil {
		log.Fatal(err)
	}
	known, err := endorsements.NewSet(endorsed)
	if err != nil {
		log.Fatal(err)
	}

	nonce := make([]byte, 32)
	rand.Read(nonce)
	evidence := tpm.attest(nonce)

	result, err := appraisal.Appraise(evidence, nonce, known)
	if err != nil {
		log.Fatal(err) // malformed, forged or stale: a *bundle.Error
	}
	fmt.Println(result.Status(), result.Claims.PAT.Selection, result.Claims.KAT.Attributes)
	for _, problem := range result.Problems {
		fmt.Println(problem)
	}

	// The same evidence is no answer to another nonce.
	rand.Read(nonce)
	_, err = appraisal.Appraise(evidence, nonce, known)
	fmt.Println(err)
	// Output:
	// affirming sha256:0,1,7 fixedTPM|fixedParent|sensitiveDataOrigin|userWithAuth|noDA|sign
	// kat: stale: extraData is not this session's nonce: the evidence is stale or was made for another session
}

// simulated is a machine with a simulated TPM.
type simulated struct {
	tpm *attester.TPM
	cfg attester.AttestConfig
}

func (s *simulated) attest(nonce []byte) []byte {
	evidence, err := s.tpm.Attest(context.Background(), s.cfg, nonce)
	if err != nil {
		log.Fatal(err)
	}
	return evidence
}

func (s *simulated) close() {
	if err := s.tpm.Close(); err != nil {
		log.Fatal(err)
	}
}

// machine makes keys in a simulated TPM, and a CoRIM of the machine as it is.
func machine() (*simulated, []byte) {
	ctx := context.Background()
	sim, err := simulator.Open()
	if err != nil {
		log.Fatal(err)
	}
	s := &simulated{tpm: attester.New(sim)}
	alg := attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256}
	if s.cfg.AK, err = s.tpm.CreateAK(ctx, alg); err != nil {
		log.Fatal(err)
	}
	if s.cfg.TIK, err = s.tpm.CreateTIK(ctx, alg); err != nil {
		log.Fatal(err)
	}
	if s.cfg.Selection, err = attester.ParseSelection("sha256:0,1,7"); err != nil {
		log.Fatal(err)
	}

	const class = "7d9e2c1a-5b0f-4f6e-9c1d-0a6b54d3e2f1"
	anchor, err := endorsements.NewTrustAnchor(class, s.cfg.AK.KID(), s.cfg.AK.PEM())
	if err != nil {
		log.Fatal(err)
	}
	pcrs, err := s.tpm.ReadPCRs(ctx, s.cfg.Selection)
	if err != nil {
		log.Fatal(err)
	}
	var values []endorsements.PCRValue
	for bank, digests := range pcrs {
		for index, digest := range digests {
			values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: index}, Digest: digest})
		}
	}
	state, err := endorsements.NewReferenceState(class, values)
	if err != nil {
		log.Fatal(err)
	}
	c := &endorsements.Corim{ID: "example", Anchors: []endorsements.TrustAnchor{anchor}, States: []endorsements.ReferenceState{state}}
	corim, err := c.Encode(endorsements.DialectV1)
	if err != nil {
		log.Fatal(err)
	}
	return s, corim
}
