// Copyright 2026 Contributors to the Veraison project.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// parsePublicKey reads a public key in one of the forms that it comes in: PEM
// (a public key, a certificate, a TSS2 key file) or a TPM2B_PUBLIC.
func parsePublicKey(data []byte) (*keyInfo, crypto.PublicKey, error) {
	if block, rest := pem.Decode(data); block != nil {
		if strings.TrimSpace(string(rest)) != "" && block.Type != "CERTIFICATE" {
			return nil, nil, errors.New("something follows the PEM block")
		}
		return publicKeyPEM(block)
	}
	pubArea, err := parseTPM2B(data)
	if err != nil {
		return nil, nil, errors.New("it holds no public key that this program reads")
	}
	return tpmKeyInfo("TPM2B_PUBLIC", pubArea)
}

func publicKeyPEM(block *pem.Block) (*keyInfo, crypto.PublicKey, error) {
	switch block.Type {
	case keyFilePEM:
		return keyFileInfo(block.Bytes)
	case "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, nil, fmt.Errorf("public key: %w", err)
		}
		info, err := publicKeyInfo("public key", key)
		return info, key, err
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, fmt.Errorf("certificate: %w", err)
		}
		info, err := publicKeyInfo("certificate of "+cert.Subject.String(), cert.PublicKey)
		return info, cert.PublicKey, err
	}
	return nil, nil, fmt.Errorf("a PEM block %.40q, which is no public key", block.Type)
}
