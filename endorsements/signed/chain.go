// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package signed

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/veraison/attested-tls/endorsements"
)

// ErrUntrusted says that a CoRIM is signed by nobody whom the policy trusts.
var ErrUntrusted = errors.New("the signer is not trusted")

// inChain says which certificate is at fault.
func inChain(i int, err error) error {
	return &endorsements.Error{Comid: -1, Index: -1, Field: fmt.Sprintf("protected.x5chain[%d]", i), Err: err}
}

const maxRSABits = 8192

func parseChain(chain [][]byte) ([]*x509.Certificate, error) {
	certs := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, inChain(i, fmt.Errorf("expected a certificate: %w", err))
		}
		// Verifying with a larger one takes seconds, and comes before trust.
		if k, ok := cert.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSABits {
			return nil, inChain(i, fmt.Errorf("expected an RSA key of at most %d bits, found one of %d", maxRSABits, k.N.BitLen()))
		}
		certs[i] = cert
	}
	return certs, nil
}

// checkLeaf refuses a certificate that is not for signing. One for TLS, say, can
// be had by many whom the root's owner never meant to write CoRIMs.
func checkLeaf(leaf *x509.Certificate) error {
	if err := CheckKey(leaf.PublicKey); err != nil {
		return inChain(0, err)
	}
	if leaf.IsCA {
		return inChain(0, errors.New("expected a signer's certificate, found a certification authority's"))
	}
	// RFC 5280, 4.2.1.3: without the extension, any usage.
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return inChain(0, errors.New("expected the key usage digitalSignature"))
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 &&
		!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) {
		return inChain(0, errors.New("expected no extended key usage, or codeSigning or anyExtendedKeyUsage among them"))
	}
	return nil
}

// verifyChain returns the chain from the signer to a root.
func verifyChain(certs []*x509.Certificate, roots *x509.CertPool, now time.Time) ([]*x509.Certificate, error) {
	if err := checkLeaf(certs[0]); err != nil {
		return nil, err
	}
	intermediates := x509.NewCertPool()
	for _, cert := range certs[1:] {
		intermediates.AddCert(cert)
	}
	chains, err := certs[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   now,
		// Also what authorities below the root are limited to. No extension is
		// no limit.
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: x5chain: %w", ErrUntrusted, err)
	}
	return chains[0], nil
}
