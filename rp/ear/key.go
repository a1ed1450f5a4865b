// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package ear

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // hashes
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Key is a public key that a verifier signs results with, and the one algorithm
// that it is used with. NewKey and ParseKey make it; the zero value verifies
// nothing.
type Key struct {
	public    crypto.PublicKey
	algorithm jose.SignatureAlgorithm
	id        string
}

// NewKey takes a public key whose kind leaves one algorithm: ECDSA on P-256,
// P-384 or P-521, or Ed25519. An RSA key has to come as a JWK that names its
// algorithm.
func NewKey(public crypto.PublicKey) (Key, error) { return newKey(public, "", "") }

// ParseKey reads a public key: a JWK (RFC 7517), or one PEM block PUBLIC KEY.
// A JWK for another use than signatures, and one that holds a private or
// symmetric key, is refused.
func ParseKey(data []byte) (Key, error) {
	if trimmed := bytes.TrimSpace(data); bytes.HasPrefix(trimmed, []byte("-----")) {
		block, rest := pem.Decode(trimmed)
		if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) != 0 {
			return Key{}, errors.New("reading key: not one PEM block PUBLIC KEY")
		}
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return Key{}, fmt.Errorf("reading key: %w", err)
		}
		return NewKey(public)
	}
	var about struct {
		KeyOps []string `json:"key_ops"`
	}
	if err := json.Unmarshal(data, &about); err != nil {
		return Key{}, fmt.Errorf("reading JWK: %w", err)
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(data); err != nil {
		return Key{}, fmt.Errorf("reading JWK: %w", err)
	}
	switch {
	case !jwk.IsPublic():
		return Key{}, errors.New("reading JWK: not a public key")
	case jwk.Use != "" && jwk.Use != "sig", // RFC 7517, 4.2
		about.KeyOps != nil && !slices.Contains(about.KeyOps, "verify"): // RFC 7517, 4.3
		return Key{}, errors.New("reading JWK: not for verifying signatures")
	}
	return newKey(jwk.Key, jwk.Algorithm, jwk.KeyID)
}

func newKey(public crypto.PublicKey, algorithm, id string) (Key, error) {
	fits, err := algorithmsOf(public)
	if err != nil {
		return Key{}, err
	}
	if algorithm == "" {
		if len(fits) > 1 {
			return Key{}, fmt.Errorf("an RSA key serves several algorithms: give it as a JWK whose alg is one of %v", fits)
		}
		algorithm = string(fits[0])
	}
	if !slices.Contains(fits, jose.SignatureAlgorithm(algorithm)) {
		return Key{}, fmt.Errorf("algorithm %.40q does not fit the key, which is for %v", algorithm, fits)
	}
	return Key{public: public, algorithm: jose.SignatureAlgorithm(algorithm), id: id}, nil
}

// algorithmsOf lists the signature algorithms that a key can be for (RFC 7518,
// section 3; RFC 8037, section 3.1).
func algorithmsOf(public crypto.PublicKey) ([]jose.SignatureAlgorithm, error) {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		if key == nil {
			break
		}
		// Also finds out whether the point is on the curve.
		if _, err := key.ECDH(); err != nil {
			return nil, fmt.Errorf("ECDSA key: %w", err)
		}
		switch key.Curve {
		case elliptic.P256():
			return []jose.SignatureAlgorithm{jose.ES256}, nil
		case elliptic.P384():
			return []jose.SignatureAlgorithm{jose.ES384}, nil
		case elliptic.P521():
			return []jose.SignatureAlgorithm{jose.ES512}, nil
		}
	case ed25519.PublicKey:
		if len(key) == ed25519.PublicKeySize {
			return []jose.SignatureAlgorithm{jose.EdDSA}, nil
		}
	case *rsa.PublicKey:
		if key == nil || key.N == nil {
			break
		}
		if bits := key.N.BitLen(); bits < 2048 || bits > 8192 { // RFC 7518, 3.3 and 3.5
			return nil, fmt.Errorf("an RSA key of %d bits; accepted are 2048 to 8192", bits)
		}
		return []jose.SignatureAlgorithm{jose.PS256, jose.PS384, jose.PS512, jose.RS256, jose.RS384, jose.RS512}, nil
	}
	return nil, fmt.Errorf("a key of type %T cannot verify results", public)
}

// Public is the public key.
func (k Key) Public() crypto.PublicKey { return k.public }

// String says what kind of key it is, for messages.
func (k Key) String() string {
	if k.id == "" {
		return string(k.algorithm)
	}
	return fmt.Sprintf("%s %.40q", k.algorithm, k.id)
}

// hashes are those of the algorithms (RFC 7518, section 3.1).
var hashes = map[jose.SignatureAlgorithm]crypto.Hash{
	jose.ES256: crypto.SHA256, jose.ES384: crypto.SHA384, jose.ES512: crypto.SHA512,
	jose.PS256: crypto.SHA256, jose.PS384: crypto.SHA384, jose.PS512: crypto.SHA512,
	jose.RS256: crypto.SHA256, jose.RS384: crypto.SHA384, jose.RS512: crypto.SHA512,
}

// verifies checks a signature with the key's own algorithm (RFC 7518, sections
// 3.3 to 3.5; RFC 8037, section 3.1).
func (k Key) verifies(signed string, signature []byte) bool {
	if public, ok := k.public.(ed25519.PublicKey); ok {
		return ed25519.Verify(public, []byte(signed), signature)
	}
	hash, ok := hashes[k.algorithm]
	if !ok {
		return false
	}
	h := hash.New()
	h.Write([]byte(signed))
	digest := h.Sum(nil)
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		// R || S, each as long as the order: not ASN.1, and no shorter.
		size := (public.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(public, digest, r, s)
	case *rsa.PublicKey:
		if strings.HasPrefix(string(k.algorithm), "PS") {
			// The salt is as long as the hash.
			return rsa.VerifyPSS(public, hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(public, hash, digest, signature) == nil
	}
	return false
}

// equal compares by parameters.
func (k Key) equal(l Key) bool {
	public, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(l.public) && k.algorithm == l.algorithm
}

// KeySource gives the keys of one verifier. Implementations may be used by
// several goroutines.
type KeySource interface {
	// Keys returns the keys that a result may be signed with; none is an error.
	Keys(ctx context.Context) ([]Key, error)
	// Refresh is called when a result verified under none of the keys. A
	// source that can look for newer ones does so, no more often than is good
	// for the verifier, and returns what Keys would return now.
	Refresh(ctx context.Context) ([]Key, error)
}

// pinned is a KeySource that never changes.
type pinned []Key

// Pin makes a source of keys that are known beforehand. Without a key it
// accepts nothing.
func Pin(keys ...Key) KeySource { return pinned(slices.Clone(keys)) }

var errNoKeys = errors.New("no verifier key is pinned")

func (p pinned) Keys(context.Context) ([]Key, error) {
	if len(p) == 0 {
		return nil, errNoKeys
	}
	return p, nil
}

func (p pinned) Refresh(ctx context.Context) ([]Key, error) { return p.Keys(ctx) }
