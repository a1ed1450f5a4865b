// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package signed_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/veraison/attested-tls/endorsements"
	"github.com/veraison/attested-tls/endorsements/signed"
)

func Example() {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	corim, err := provisioned()
	if err != nil {
		fmt.Println(err)
		return
	}
	message, err := signed.Sign(corim, private, signed.Options{
		Signer:   endorsements.Signer{Name: "ACME Ltd."},
		NotAfter: time.Now().AddDate(1, 0, 0).Truncate(time.Second),
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	// Elsewhere, by somebody who knows ACME's key:
	verified, err := signed.Verify(message, signed.Policy{Keys: []crypto.PublicKey{public}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(verified.Signer.Name, "signed", verified.Corim.ID)
	for _, state := range verified.Corim.States {
		fmt.Println(state)
	}
	// Output:
	// ACME Ltd. signed https://acme.example/endorsements/2026
	// sha256:7
}

// provisioned makes a CoRIM for one state.
func provisioned() ([]byte, error) {
	state, err := endorsements.NewReferenceState("cd1f0e55-26f9-460d-b9d8-f7fde171787c", []endorsements.PCRValue{
		{PCR: endorsements.PCR{Bank: crypto.SHA256, Index: 7}, Digest: make([]byte, 32)},
	})
	if err != nil {
		return nil, err
	}
	c := endorsements.Corim{ID: "https://acme.example/endorsements/2026", States: []endorsements.ReferenceState{state}}
	return c.Encode(endorsements.DialectV2)
}
