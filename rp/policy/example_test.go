// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/veraison/attested-tls/rp"
	"github.com/veraison/attested-tls/rp/ear"
	"github.com/veraison/attested-tls/rp/policy"
)

// An affirming result of the last minute, about a machine of ours, and
// something of one's own.
func ExampleAffirming() {
	kid := []byte{1, 2, 3}
	p := policy.Affirming(
		policy.MaxAge(time.Minute),
		policy.TPM.Claim(ear.Executables, ear.TierAffirming),
		policy.TPM.Instances(kid),
		policy.TPM.Check(func(a *ear.Appraisal) error {
			if pcrs, _ := a.Evidence["pcrs"].(string); pcrs != "sha256:0,1,7" {
				return &rp.PolicyError{Submod: "PARSEC_TPM", Claim: "pcrs", Got: pcrs, Want: "sha256:0,1,7"}
			}
			return nil
		}),
	)
	err := p.Check(exampleResult(kid, "sha256:0,1"))
	var refused *rp.PolicyError
	fmt.Println(errors.As(err, &refused), refused.Claim)
	fmt.Println(err)
	fmt.Println(p.Check(exampleResult(kid, "sha256:0,1,7")))
	// Output:
	// true pcrs
	// refused by policy: PARSEC_TPM: pcrs is sha256:0,1, want sha256:0,1,7
	// <nil>
}

// exampleResult is what a verifier says.
func exampleResult(kid []byte, pcrs string) *rp.AttestationResult {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private}, nil)
	if err != nil {
		log.Fatal(err)
	}
	payload := fmt.Appendf(nil, `{
		"eat_profile": "tag:github.com,2023:veraison/ear", "iat": %d,
		"ear.verifier-id": {"developer": "Veraison Project", "build": "v0.0.2501"},
		"submods": {"PARSEC_TPM": {
			"ear.status": "affirming", "ear.trustworthiness-vector": {"executables": 2, "hardware": 2},
			"ear.veraison.annotated-evidence": {
				"format": "tag:github.com/veraison/attested-tls,2026:tpm-claims-1", "kid": %q, "pcrs": %q
			}
		}}
	}`, time.Now().Unix(), base64.StdEncoding.EncodeToString(kid), pcrs)
	jws, err := signer.Sign(payload)
	if err != nil {
		log.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		log.Fatal(err)
	}
	key, err := ear.NewKey(private.Public())
	if err != nil {
		log.Fatal(err)
	}
	result, err := ear.Verify(context.Background(), token, ear.Pin(key), ear.Expectations{MaxAge: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	return result
}
