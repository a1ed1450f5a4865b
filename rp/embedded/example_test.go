// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"context"
	"fmt"
	"log"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/bundle"
	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/embedded"
	"github.com/veraison/attested-tls/rp/policy"
)

// A machine with a simulated TPM attests; a verifier in this process, which
// knows the machine's key and state, appraises. In earnest the two are apart,
// and the CoRIMs come from files (LoadFiles).
func Example() {
	ctx := context.Background()

	// The machine.
	tpm, err := attester.Open(ctx, "simulator:", simulator.Opener())
	if err != nil {
		log.Fatal(err)
	}
	defer tpm.Close()
	alg, err := attester.ParseKeyAlg("ecdsa-p256-sha256")
	if err != nil {
		log.Fatal(err)
	}
	ak, err := tpm.CreateAK(ctx, alg)
	if err != nil {
		log.Fatal(err)
	}
	tik, err := tpm.CreateTIK(ctx, alg)
	if err != nil {
		log.Fatal(err)
	}
	pcrs, err := attester.ParseSelection("sha256:0,1,7")
	if err != nil {
		log.Fatal(err)
	}
	machine, err := attester.NewAttester(ctx, attester.AttestConfig{AK: ak, TIK: tik, Selection: pcrs})
	if err != nil {
		log.Fatal(err)
	}

	// The relying party.
	verifier, err := embedded.New([]*endorsements.Corim{endorsed(ctx, tpm, ak, pcrs)}, embedded.Config{})
	if err != nil {
		log.Fatal(err)
	}
	session, err := verifier.NewSession(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	cmw, err := machine.Attest(ctx, session.Nonce())
	if err != nil {
		log.Fatal(err)
	}
	result, err := rp.Appraise(ctx, session, rp.Evidence{MediaType: bundle.MediaTypeCMWCBOR, Data: cmw},
		policy.Affirming(policy.TPM.Instances(ak.KID()), policy.TPM.AttestedKeyIs(tik.Public())))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Status, result.Submods["PARSEC_TPM"].Evidence["pcrs"])
	// Output: affirming sha256:0,1,7
}

// endorsed is what the machine's owner endorses: its key, and its present state.
func endorsed(ctx context.Context, tpm *attester.TPM, ak *attester.AK, pcrs attester.Selection) *endorsements.Corim {
	const class = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"
	anchor, err := endorsements.NewTrustAnchor(class, ak.KID(), ak.PEM())
	if err != nil {
		log.Fatal(err)
	}
	banks, err := tpm.ReadPCRs(ctx, pcrs)
	if err != nil {
		log.Fatal(err)
	}
	var values []endorsements.PCRValue
	for bank, digests := range banks {
		for index, digest := range digests {
			values = append(values, endorsements.PCRValue{PCR: endorsements.PCR{Bank: bank, Index: index}, Digest: digest})
		}
	}
	state, err := endorsements.NewReferenceState(class, values)
	if err != nil {
		log.Fatal(err)
	}
	return &endorsements.Corim{ID: "example", Anchors: []endorsements.TrustAnchor{anchor}, States: []endorsements.ReferenceState{state}}
}
