// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package endorsements_test

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/veraison/attested-tls/endorsements"
)

func ExampleDecode() {
	data, err := provisioned()
	if err != nil {
		fmt.Println(err)
		return
	}
	corim, err := endorsements.Decode(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := corim.CheckValidity(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)); err != nil {
		fmt.Println(err)
		return
	}
	set, err := endorsements.NewSet(corim)
	if err != nil {
		fmt.Println(err)
		return
	}
	anchor, ok := set.TrustAnchor(kid)
	if !ok {
		fmt.Println("no such key")
		return
	}
	fmt.Println(anchor.Class)
	for _, state := range set.States(anchor.Class) {
		fmt.Println(state)
	}
	// Output:
	// cd1f0e55-26f9-460d-b9d8-f7fde171787c
	// sha256:0,7
}

// kid is a key identifier: a UEID of 32 random bytes.
var kid = append([]byte{0x01}, make([]byte, 32)...)

// provisioned makes the CoRIM for one attestation key and one state.
func provisioned() ([]byte, error) {
	const class = "cd1f0e55-26f9-460d-b9d8-f7fde171787c"
	const akPEM = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETKRFE/RwSXooI8DdatPOYg/uiKm2
XrtT/uEMEvqQZrwJHHcfw0c3WVzGoqL3Y/Q6xkHFfdUVqS2WWkPdKO03uw==
-----END PUBLIC KEY-----
`
	anchor, err := endorsements.NewTrustAnchor(class, kid, akPEM)
	if err != nil {
		return nil, err
	}
	firmware := sha256.Sum256([]byte("firmware"))
	secureBoot := sha256.Sum256([]byte("secure boot policy"))
	state, err := endorsements.NewReferenceState(class, []endorsements.PCRValue{
		{PCR: endorsements.PCR{Bank: crypto.SHA256, Index: 0}, Digest: firmware[:]},
		{PCR: endorsements.PCR{Bank: crypto.SHA256, Index: 7}, Digest: secureBoot[:]},
	})
	if err != nil {
		return nil, err
	}
	corim := &endorsements.Corim{
		ID:       "https://acme.example/endorsements/2026",
		Anchors:  []endorsements.TrustAnchor{anchor},
		States:   []endorsements.ReferenceState{state},
		NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	return corim.Encode(endorsements.DialectV1)
}
