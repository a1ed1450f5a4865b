// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package tlsbinding

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// keyPair takes a certificate apart: it has a chain, and a private key that
// signs and belongs to its first certificate.
func keyPair(c *tls.Certificate) (*x509.Certificate, crypto.Signer, error) {
	if len(c.Certificate) == 0 {
		return nil, nil, errors.New("no certificate is given")
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return nil, nil, fmt.Errorf("the certificate: %w", err)
	}
	signer, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, nil, fmt.Errorf("a private key of type %T does not sign", c.PrivateKey)
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(leaf.PublicKey) {
		return nil, nil, errors.New("the certificate is for another key")
	}
	return leaf, signer, nil
}

// enter takes one of the places for attestations. They are served in the order
// of their arrival: that is the TPM's part (package attester).
func (c *Credential) enter() (release func(), err error) {
	select {
	case c.pending <- struct{}{}:
		return func() { <-c.pending }, nil
	default:
		return nil, fail("waiting for the TPM", RefusedBusy,
			fmt.Errorf("%w: %d attestations are pending already", ErrBusy, cap(c.pending)))
	}
}
