// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// Credential is what an authenticator is made with.
type Credential struct {
	// Chain is the certificates in DER, the end-entity's first.
	Chain [][]byte
	// Signer has the end-entity certificate's private key. One that also has a
	// method WithContext(context.Context) crypto.Signer, as attester.Signer
	// does, is stopped when Authenticate's context ends; another is waited for.
	Signer crypto.Signer
	// SignatureSchemes are those that the key can make, the best first; none
	// means all that its type allows. A TPM's key often can make one only.
	SignatureSchemes []tls.SignatureScheme
	// Extensions are those of the end-entity certificate's entry, which the
	// request must have offered.
	Extensions []Extension
}

// parse checks all that depends on the credential alone, and gives its
// certificates.
func (c *Credential) parse() ([]*x509.Certificate, error) {
	switch {
	case c == nil || c.Signer == nil || len(c.Chain) == 0:
		return nil, errors.New("the credential has no certificate or no key")
	case len(c.Chain) > MaxCertificates:
		return nil, fmt.Errorf("the credential has %d certificates: at most %d", len(c.Chain), MaxCertificates)
	}
	for i, der := range c.Chain {
		if len(der) > MaxCertificate {
			return nil, fmt.Errorf("certificate %d of the credential has %d bytes: at most %d", i, len(der), MaxCertificate)
		}
	}
	if err := checkExtensions(c.Extensions); err != nil {
		return nil, err
	}
	chain, err := parseChain(c.Chain)
	if err != nil {
		return nil, err
	}
	if chain[0].PublicKey == nil {
		return nil, faultf(alertUnsupportedCertificate, "the key of the credential's certificate (%v) is of a type that is not supported", chain[0].PublicKeyAlgorithm)
	}
	if key, ok := chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(c.Signer.Public()) {
		return nil, faultf(alertInternalError, "the credential's certificate is for another key than its signer's")
	}
	return chain, nil
}

// Supports says why a credential does not suit a request: no signature scheme
// in common, a chain signed with what the requester does not verify, or by none
// of the CAs that it named (RFC 8446, sections 4.2.3, 4.2.4 and 4.4.2.2). It
// helps to choose among credentials. Errors are of type [*Error].
func (r *Request) Supports(c *Credential) error {
	chain, err := c.parse()
	if err != nil {
		return in("Certificate", err)
	}
	if _, err := r.choose(c, chain); err != nil {
		return err
	}
	if len(r.CertificateAuthorities) > 0 && !slices.ContainsFunc(chain, func(cert *x509.Certificate) bool {
		return slices.ContainsFunc(r.CertificateAuthorities, func(name []byte) bool { return bytes.Equal(name, cert.RawIssuer) })
	}) {
		return failf("Certificate", alertHandshakeFailure, "no certificate is by any of the %d CAs that the request names", len(r.CertificateAuthorities))
	}
	return nil
}

// choose finds the scheme to sign with: the credential's best that the request
// lists and that TLS 1.3 has for the key. It refuses a chain that the requester
// said it cannot verify: RFC 9261, section 5.2.1, says MUST for both.
func (r *Request) choose(c *Credential, chain []*x509.Certificate) (tls.SignatureScheme, error) {
	able := c.SignatureSchemes
	if len(able) == 0 {
		able = schemesFor(chain[0].PublicKey)
		if len(able) == 0 {
			return 0, failf("CertificateVerify", alertUnsupportedCertificate, "%w: the certificate's key can make none of TLS 1.3: %w",
				ErrScheme, fits(tls.ECDSAWithP256AndSHA256, chain[0].PublicKey))
		}
	}
	i := slices.IndexFunc(able, func(s tls.SignatureScheme) bool {
		return slices.Contains(r.SignatureSchemes, s) && fits(s, chain[0].PublicKey) == nil
	})
	if i < 0 {
		return 0, failf("CertificateVerify", alertHandshakeFailure, "%w: the key makes %v, the request lists %v", ErrScheme, able, r.SignatureSchemes)
	}
	if err := r.checkChain(chain); err != nil {
		return 0, in("Certificate", err)
	}
	return able[i], nil
}

// checkChain is RFC 8446, section 4.2.3: how certificates may be signed.
// Self-signed ones are not validated and may have any signature. The curve of
// an ECDSA signature is not compared: the issuer's key need not be in the chain.
func (r *Request) checkChain(chain []*x509.Certificate) error {
	accepted := r.SignatureSchemesCert
	if len(accepted) == 0 {
		accepted = r.SignatureSchemes
	}
	for i, cert := range chain {
		if bytes.Equal(cert.RawIssuer, cert.RawSubject) {
			continue
		}
		if !slices.ContainsFunc(certificateSchemes(cert.SignatureAlgorithm), func(s tls.SignatureScheme) bool {
			return slices.Contains(accepted, s)
		}) {
			return faultf(alertHandshakeFailure, "%w: certificate %d is signed with %v, the request accepts %v in certificates",
				ErrScheme, i, cert.SignatureAlgorithm, accepted)
		}
	}
	return nil
}

// certificateSchemes are TLS's names for how a certificate is signed.
func certificateSchemes(alg x509.SignatureAlgorithm) []tls.SignatureScheme {
	// The scheme of keys of type id-RSASSA-PSS, which crypto/tls has no name
	// for.
	const pssSHA256, pssSHA384, pssSHA512 tls.SignatureScheme = 0x0809, 0x080a, 0x080b
	switch alg {
	case x509.SHA1WithRSA:
		return []tls.SignatureScheme{tls.PKCS1WithSHA1}
	case x509.SHA256WithRSA:
		return []tls.SignatureScheme{tls.PKCS1WithSHA256}
	case x509.SHA384WithRSA:
		return []tls.SignatureScheme{tls.PKCS1WithSHA384}
	case x509.SHA512WithRSA:
		return []tls.SignatureScheme{tls.PKCS1WithSHA512}
	case x509.SHA256WithRSAPSS:
		return []tls.SignatureScheme{tls.PSSWithSHA256, pssSHA256}
	case x509.SHA384WithRSAPSS:
		return []tls.SignatureScheme{tls.PSSWithSHA384, pssSHA384}
	case x509.SHA512WithRSAPSS:
		return []tls.SignatureScheme{tls.PSSWithSHA512, pssSHA512}
	case x509.ECDSAWithSHA1:
		return []tls.SignatureScheme{tls.ECDSAWithSHA1}
	case x509.ECDSAWithSHA256:
		return []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}
	case x509.ECDSAWithSHA384:
		return []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384}
	case x509.ECDSAWithSHA512:
		return []tls.SignatureScheme{tls.ECDSAWithP521AndSHA512}
	case x509.PureEd25519:
		return []tls.SignatureScheme{tls.Ed25519}
	default:
		return nil
	}
}

// contextual is a signer that honours a context, such as attester.Signer.
type contextual interface {
	WithContext(ctx context.Context) crypto.Signer
}

// signerFor is the credential's signer, made to honour ctx if it can.
func (c *Credential) signerFor(ctx context.Context) crypto.Signer {
	if s, ok := c.Signer.(contextual); ok {
		return s.WithContext(ctx)
	}
	return c.Signer
}
