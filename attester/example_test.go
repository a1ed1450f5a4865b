// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package attester_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"log"

	"github.com/veraison/attested-tls/attester"
	"github.com/veraison/attested-tls/attester/simulator"
	"github.com/veraison/attested-tls/bundle"
)

// Evidence for a nonce, from a TPM simulator. On a machine with a TPM,
// attester.Open(ctx, "device:/dev/tpmrm0") takes the simulator's place.
func Example() {
	ctx := context.Background()
	sim, err := simulator.Open()
	if err != nil {
		log.Fatal(err)
	}
	tpm := attester.New(sim)
	defer tpm.Close()

	alg := attester.KeyAlg{Scheme: attester.ECDSA, Bits: 256, Hash: crypto.SHA256}
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

	nonce := make([]byte, 32) // the verifier's
	rand.Read(nonce)
	evidence, err := tpm.Attest(ctx, attester.AttestConfig{AK: ak, TIK: tik, Selection: pcrs}, nonce)
	if err != nil {
		log.Fatal(err)
	}

	// What a verifier does first, with the AK that was provisioned.
	unverified, err := bundle.Parse(evidence)
	if err != nil {
		log.Fatal(err)
	}
	_, err = unverified.Verify(ak.Public(), nonce)
	fmt.Println(err)
	// Output: <nil>
}
