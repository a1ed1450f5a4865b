// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package expauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
)

// fits says why a key cannot make signatures of a scheme in TLS 1.3 (RFC 8446,
// section 4.2.3). SHA-1 and PKCS #1 v1.5 never fit.
func fits(scheme tls.SignatureScheme, key crypto.PublicKey) error {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		var curve elliptic.Curve
		switch scheme {
		case tls.ECDSAWithP256AndSHA256:
			curve = elliptic.P256()
		case tls.ECDSAWithP384AndSHA384:
			curve = elliptic.P384()
		case tls.ECDSAWithP521AndSHA512:
			curve = elliptic.P521()
		default:
			return fmt.Errorf("%v is none for an ECDSA key in TLS 1.3", scheme)
		}
		if key.Curve != curve {
			return fmt.Errorf("%v is none for a key on %s", scheme, key.Curve.Params().Name)
		}
		return nil
	case *rsa.PublicKey:
		// Every size allowed has room for a salt and a hash of 64 bytes each.
		if bits := key.N.BitLen(); bits < MinRSABits || bits > MaxRSABits {
			return fmt.Errorf("RSA key of %d bits: want %d to %d", bits, MinRSABits, MaxRSABits)
		}
		switch scheme {
		case tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512:
			return nil
		default:
			return fmt.Errorf("%v is none for an RSA key in TLS 1.3", scheme)
		}
	case ed25519.PublicKey:
		if scheme != tls.Ed25519 {
			return fmt.Errorf("%v is none for an Ed25519 key", scheme)
		}
		return nil
	case nil:
		return errors.New("the certificate's key is of a type that is not supported")
	default:
		return fmt.Errorf("keys of type %T are not supported", key)
	}
}

// schemesFor are those that a key can make.
func schemesFor(key crypto.PublicKey) []tls.SignatureScheme {
	return slices.DeleteFunc(SignatureSchemes(), func(s tls.SignatureScheme) bool { return fits(s, key) != nil })
}

// schemeHash is what is hashed before signing; 0 is nothing.
func schemeHash(scheme tls.SignatureScheme) crypto.Hash {
	switch scheme {
	case tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256:
		return crypto.SHA256
	case tls.ECDSAWithP384AndSHA384, tls.PSSWithSHA384:
		return crypto.SHA384
	case tls.ECDSAWithP521AndSHA512, tls.PSSWithSHA512:
		return crypto.SHA512
	default:
		return 0
	}
}

// hashed is what a signer is given.
func hashed(scheme tls.SignatureScheme, content []byte) (digest []byte, opts crypto.SignerOpts) {
	hash := schemeHash(scheme)
	if hash == 0 {
		return content, hash
	}
	h := hash.New()
	h.Write(content)
	switch scheme {
	case tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512:
		return h.Sum(nil), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	default:
		return h.Sum(nil), hash
	}
}

// signedContent is what a CertificateVerify signs (RFC 9261, section 5.2.2).
func signedContent(digest []byte) []byte {
	const context = "Exported Authenticator"
	out := make([]byte, 0, 64+len(context)+1+len(digest))
	for range 64 {
		out = append(out, ' ')
	}
	out = append(out, context...)
	out = append(out, 0)
	return append(out, digest...)
}

// sign makes the signature of a CertificateVerify.
func sign(signer crypto.Signer, scheme tls.SignatureScheme, digest []byte) ([]byte, error) {
	data, opts := hashed(scheme, signedContent(digest))
	return signer.Sign(rand.Reader, data, opts)
}

// verify checks the signature of a CertificateVerify. scheme fits key.
func verify(key crypto.PublicKey, scheme tls.SignatureScheme, digest, signature []byte) error {
	data, opts := hashed(scheme, signedContent(digest))
	ok := false
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(key, data, signature)
	case *rsa.PublicKey:
		pss, isPSS := opts.(*rsa.PSSOptions)
		ok = isPSS && rsa.VerifyPSS(key, pss.Hash, data, signature, pss) == nil
	case ed25519.PublicKey:
		ok = ed25519.Verify(key, data, signature)
	}
	if !ok {
		return fmt.Errorf("%w: not by the certificate's key for this connection and request", ErrSignature)
	}
	return nil
}
