// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"crypto/ecdsa"
	"fmt"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/veraison/ear"
)

// VerifyEAR checks the signature of an attestation result (ES256, by the key
// that Deployment.PublicKey returns) and decodes it.
func VerifyEAR(jwt string, key *ecdsa.PublicKey) (*ear.AttestationResult, error) {
	var result ear.AttestationResult
	if err := result.Verify([]byte(jwt), jwa.ES256(), key); err != nil {
		return nil, fmt.Errorf("verifying attestation result: %w", err)
	}
	return &result, nil
}
