// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package deployment

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// privateJWK is a P-256 key as RFC 7518 section 6.2 writes it.
type privateJWK struct {
	KeyType string `json:"kty"`
	Curve   string `json:"crv"`
	X       string `json:"x"`
	Y       string `json:"y"`
	D       string `json:"d"`
}

// signingKey reads the key that attestation results are signed with, or makes
// it when the file does not exist yet.
func signingKey(file string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return newSigningKey(file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading signing key: %w", err)
	}
	key, err := parseJWK(data)
	if err != nil {
		return nil, fmt.Errorf("reading signing key %s: %w", file, err)
	}
	return key, nil
}

func newSigningKey(file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating signing key: %w", err)
	}
	data, err := marshalJWK(key)
	if err != nil {
		return nil, fmt.Errorf("encoding signing key: %w", err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return nil, fmt.Errorf("writing signing key: %w", err)
	}
	return key, nil
}

func marshalJWK(key *ecdsa.PrivateKey) ([]byte, error) {
	point, err := key.PublicKey.Bytes() // 4 || X || Y
	if err != nil {
		return nil, fmt.Errorf("encoding public key: %w", err)
	}
	scalar, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding private key: %w", err)
	}
	size := (len(point) - 1) / 2
	encode := base64.RawURLEncoding.EncodeToString
	return json.Marshal(privateJWK{
		KeyType: "EC",
		Curve:   "P-256",
		X:       encode(point[1 : 1+size]),
		Y:       encode(point[1+size:]),
		D:       encode(scalar),
	})
}

// parseJWK reads the private part alone: the public one follows from it.
func parseJWK(data []byte) (*ecdsa.PrivateKey, error) {
	var key privateJWK
	if err := json.Unmarshal(data, &key); err != nil {
		return nil, fmt.Errorf("decoding JWK: %w", err)
	}
	if key.KeyType != "EC" || key.Curve != "P-256" {
		return nil, fmt.Errorf("JWK is kty %q, crv %q; want EC, P-256", key.KeyType, key.Curve)
	}
	scalar, err := base64.RawURLEncoding.DecodeString(key.D)
	if err != nil {
		return nil, fmt.Errorf("decoding JWK field d: %w", err)
	}
	return ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
}
